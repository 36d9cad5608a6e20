{#- Whether a text matches a regular expression somewhere; a missing text does not. -#}
{% macro matches(text, pattern) -%}
    {{ adapter.dispatch('matches')(text, pattern | replace("'", "''")) }}
{%- endmacro %}

{% macro duckdb__matches(text, pattern) -%}
    coalesce(regexp_matches({{ text }}, '{{ pattern }}'), false)
{%- endmacro %}

{#- In a literal of Spark a backslash escapes the next letter. -#}
{% macro spark__matches(text, pattern) -%}
    coalesce({{ text }} rlike '{{ pattern | replace("\\", "\\\\") }}', false)
{%- endmacro %}

{#- Text of a seed's cell; dbt reads a blank one as null. -#}
{% macro seed_text(column) -%}
    coalesce({{ column }}, '')
{%- endmacro %}
