{#- The name of a materialization of this project (`table`, `view`, `incremental`) on the engine in use. -#}
{% macro in_place(materialized) -%}
    {{ return(adapter.dispatch('in_place')(materialized)) }}
{%- endmacro %}

{% macro duckdb__in_place(materialized) -%}
    {{ return(materialized ~ '_in_place') }}
{%- endmacro %}

{% macro spark__in_place(materialized) -%}
    {{ return(materialized) }}
{%- endmacro %}
