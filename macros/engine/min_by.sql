{#- Aggregate: the value at the earliest instant; of several there, the least. Rows without value or instant do not count. -#}
{% macro min_by(value, instant) -%}
    {{ adapter.dispatch('min_by')(value, instant) }}
{%- endmacro %}

{% macro duckdb__min_by(value, instant) -%}
    (
        min(
            case
                when {{ value }} is not null and {{ instant }} is not null
                    then struct_pack(instant := {{ instant }}, picked := {{ value }})
            end
        )
    ).picked
{%- endmacro %}

{% macro spark__min_by(value, instant) -%}
    min(
        case
            when {{ value }} is not null and {{ instant }} is not null
                then struct({{ instant }} as instant, {{ value }} as picked)
        end
    ).picked
{%- endmacro %}
