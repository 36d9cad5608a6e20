{#- The only clock of every model. `as_of` is an exclusive upper bound in UTC. -#}
{% macro as_of() -%}
    {%- if execute and not var('as_of', none) -%}
        {{ exceptions.raise_compiler_error(
            "as_of is not set: run `traithouse refresh`, or pass --vars '{as_of: \"2024-06-30 00:00:00\"}'"
        ) }}
    {%- endif -%}
    cast('{{ var("as_of", "1970-01-01 00:00:00") }}' as timestamp)
{%- endmacro %}

{#- The last calendar day (reporting time zone) that has begun before an instant given as text; a Python date. -#}
{% macro last_date(text) -%}
    {%- set instant = modules.datetime.datetime.fromisoformat(text | string) - modules.datetime.timedelta(microseconds=1) -%}
    {%- set local = modules.pytz.utc.localize(instant).astimezone(modules.pytz.timezone(var('reporting_time_zone'))) -%}
    {{ return(local.date()) }}
{%- endmacro %}

{#- The last calendar day that has begun before as_of: day 1 of every window, counted back. -#}
{% macro as_of_date() -%}
    cast('{{ last_date(var("as_of", "1970-01-02 00:00:00")) }}' as date)
{%- endmacro %}

{#- The day that lies `days` before the last day: a window of n days is `> days_ago(n)`. -#}
{% macro days_ago(days) -%}
    cast({{ dbt.dateadd('day', -1 * days, as_of_date()) }} as date)
{%- endmacro %}
