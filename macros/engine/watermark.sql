{#- Statements that take the watermark away; the look-up before has opened a transaction, which dbt would roll back. -#}
{% macro forget_watermark(watermark) -%}
    {{ adapter.dispatch('forget_watermark')(watermark) }}
{%- endmacro %}

{% macro duckdb__forget_watermark(watermark) -%}
    delete from {{ watermark }};
    commit
{%- endmacro %}

{#- There it is a view that repeats the home's, which is believed only as long as both agree. -#}
{% macro spark__forget_watermark(watermark) -%}
    drop view if exists {{ watermark }}
{%- endmacro %}
