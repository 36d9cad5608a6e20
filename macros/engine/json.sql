{#- Text of one top-level key of a JSON object text; null when the text is no JSON or lacks the key. -#}
{% macro json_text(json, key) -%}
    {{ adapter.dispatch('json_text')(json, key) }}
{%- endmacro %}

{% macro duckdb__json_text(json, key) -%}
    case when json_valid({{ json }}) then json_extract_string({{ json }}, '$."' || {{ key }} || '"') end
{%- endmacro %}

{#- Whether a text is a JSON object. -#}
{% macro is_json_object(json) -%}
    {{ adapter.dispatch('is_json_object')(json) }}
{%- endmacro %}

{% macro duckdb__is_json_object(json) -%}
    coalesce(case when json_valid({{ json }}) then json_type({{ json }}) = 'OBJECT' end, false)
{%- endmacro %}
