{#-
    Whether a day has crossed the edge of a window since the last refresh: the last day has moved from the previous one
    to as_of_date, so as many days have left each window. Without a previous clock every day counts.
-#}
{% macro crosses_window_edge(day, windows) -%}
    {%- if not var('previous_as_of', none) -%}
        true
    {%- else -%}
        {%- set before = last_date(var('previous_as_of')) -%}
        {%- set now = last_date(var('as_of', '1970-01-02 00:00:00')) -%}
        (
            {%- for days in windows -%}
                {%- set span = modules.datetime.timedelta(days=days) %}
                ({{ day }} > cast('{{ before - span }}' as date) and {{ day }} <= cast('{{ now - span }}' as date))
                {%- if not loop.last %} or{% endif -%}
            {%- endfor %}
        )
    {%- endif -%}
{%- endmacro %}
