{#-
    Runs that `traithouse refresh` did not start: such a run may leave the tables at another clock, so the watermark is
    deleted before it, and the next refresh rebuilds everything. It may not add rows to incremental tables, for nobody has
    checked that the rows in them still mean what they meant: it has to rebuild them.
-#}
{% macro guard_manual_runs() -%}
    {%- if execute and flags.WHICH in ('build', 'run') and not var('build_id', none) -%}
        {%- set incremental = [] -%}
        {%- for id in selected_resources if graph.nodes.get(id, {}).get('config', {}).get('materialized', '').startswith('incremental') -%}
            {%- do incremental.append(id) -%}
        {%- endfor -%}
        {%- if incremental and not flags.FULL_REFRESH and adapter.get_relation(target.database, 'events', 'event_log') -%}
            {{ exceptions.raise_compiler_error(
                "dbt itself can only rebuild incremental tables: add --full-refresh, or use `traithouse refresh`."
            ) }}
        {%- endif -%}
        {%- set watermark = adapter.get_relation(target.database, 'state', 'watermark') -%}
        {%- if watermark -%}
            {{ delete_watermark(watermark) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
