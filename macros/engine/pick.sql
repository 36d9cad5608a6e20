{#- Aggregate: the value at the earliest instant; of several there, the least. Rows without value or instant do not count. -#}
{% macro earliest(value, instant) -%}
    {{ adapter.dispatch('picked')('min', value, instant) }}
{%- endmacro %}

{#- Aggregate: the value at the latest instant; of several there, the greatest. Rows without value or instant do not count. -#}
{% macro latest(value, instant) -%}
    {{ adapter.dispatch('picked')('max', value, instant) }}
{%- endmacro %}

{% macro duckdb__picked(end, value, instant) -%}
    (
        {{ end }}(
            case
                when {{ value }} is not null and {{ instant }} is not null
                    then struct_pack(instant := {{ instant }}, picked := {{ value }})
            end
        )
    ).picked
{%- endmacro %}

{% macro spark__picked(end, value, instant) -%}
    {{ end }}(
        case
            when {{ value }} is not null and {{ instant }} is not null
                then struct({{ instant }} as instant, {{ value }} as picked)
        end
    ).picked
{%- endmacro %}
