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

{#- A fast hash of a text, as an integer: different texts may share it, so it only ever narrows a search. -#}
{% macro fast_hash(text) -%}
    {{ adapter.dispatch('fast_hash')(text) }}
{%- endmacro %}

{% macro duckdb__fast_hash(text) -%}
    cast(hash({{ text }}) >> 1 as bigint)
{%- endmacro %}

{% macro spark__fast_hash(text) -%}
    xxhash64({{ text }})
{%- endmacro %}
