{#- A Parquet table keeps no constraints; dbt-spark takes a table of an unnamed format for Delta, and would fail. -#}
{% macro spark__persist_constraints(relation, model) -%}
{%- endmacro %}
