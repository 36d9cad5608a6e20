{#- Number of the stretch of so many minutes that an instant lies in; stretch 0 begins with 1970. -#}
{% macro bucket_number(instant, minutes) -%}
    {{ floor_divide(epoch_micros(instant), 'cast(' ~ minutes ~ ' as bigint) * 60000000') }}
{%- endmacro %}

{#- Whole seconds from one instant to another; parts of a second are dropped, downwards. -#}
{% macro whole_seconds(from, until) -%}
    {{ floor_divide(epoch_micros(until) ~ ' - ' ~ epoch_micros(from), '1000000') }}
{%- endmacro %}

{#- Integer division that rounds down; both engines' own rounds towards zero, which is wrong before 1970. -#}
{% macro floor_divide(number, size) -%}
    {{ adapter.dispatch('floor_divide')(number, size) }}
{%- endmacro %}

{% macro duckdb__floor_divide(number, size) -%}
    cast((({{ number }}) - ((({{ number }}) % ({{ size }})) + ({{ size }})) % ({{ size }})) // ({{ size }}) as bigint)
{%- endmacro %}

{% macro spark__floor_divide(number, size) -%}
    cast((({{ number }}) - pmod({{ number }}, {{ size }})) div ({{ size }}) as bigint)
{%- endmacro %}
