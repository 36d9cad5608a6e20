{#- Statements that take the watermark away; the look-up before has opened a transaction, which dbt would roll back. -#}
{% macro delete_watermark(watermark) -%}
    {{ adapter.dispatch('delete_watermark')(watermark) }}
{%- endmacro %}

{% macro duckdb__delete_watermark(watermark) -%}
    delete from {{ watermark }};
    commit
{%- endmacro %}

{#- There it is a view that repeats the home's, which is believed only as long as both agree. -#}
{% macro spark__delete_watermark(watermark) -%}
    drop view if exists {{ watermark }}
{%- endmacro %}
