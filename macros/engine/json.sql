{#- Text of one top-level key of a JSON object text; null when the text is no JSON or lacks the key. -#}
{% macro json_text(json, key) -%}
    {{ adapter.dispatch('json_text')(json, key) }}
{%- endmacro %}

{#- A pointer rather than a path: in a path some keys are wildcards, even in quotes. -#}
{% macro duckdb__json_text(json, key) -%}
    case
        when json_valid({{ json }})
            then json_extract_string({{ json }}, '/' || replace(replace({{ key }}, '~', '~0'), '/', '~1'))
    end
{%- endmacro %}

{#- A map rather than a path: a path cannot name every key. -#}
{% macro spark__json_text(json, key) -%}
    case when {{ _spark_single_json_value(json) }} then {{ _spark_json_members(json) }}[{{ key }}] end
{%- endmacro %}

{#- Whether a text is a JSON object. -#}
{% macro is_json_object(json) -%}
    {{ adapter.dispatch('is_json_object')(json) }}
{%- endmacro %}

{% macro duckdb__is_json_object(json) -%}
    coalesce(case when json_valid({{ json }}) then json_type({{ json }}) = 'OBJECT' end, false)
{%- endmacro %}

{% macro spark__is_json_object(json) -%}
    coalesce({{ _spark_single_json_value(json) }} and {{ _spark_json_members(json) }} is not null, false)
{%- endmacro %}

{#- Spark reads up to the end of the first value and ignores the rest; as first of two members of a list it cannot. -#}
{% macro _spark_single_json_value(json) -%}
    json_array_length(concat('[', {{ json }}, ',0]')) = 2
{%- endmacro %}

{% macro _spark_json_members(json) -%}
    from_json({{ json }}, 'map<string, string>', map('allowSingleQuotes', 'false'))
{%- endmacro %}
