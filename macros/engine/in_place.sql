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

{#- dbt's own macro of this name answers for the materialization `incremental` alone; this one also for ours. -#}
{% macro is_incremental() -%}
    {%- if not execute -%}
        {{ return(false) }}
    {%- endif -%}
    {%- set relation = adapter.get_relation(this.database, this.schema, this.table) -%}
    {{ return(
        relation is not none
        and relation.type == 'table'
        and model.config.materialized in ('incremental', 'incremental_in_place')
        and not should_full_refresh()
    ) }}
{%- endmacro %}
