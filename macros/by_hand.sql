{#-
    Before a run that `traithouse refresh` did not start: the watermark is taken away, for such a run may leave the
    tables at another clock. The next refresh then rebuilds everything. What is kept from run to run can only be made
    anew by hand: nobody has looked whether its rows still mean what they meant.
-#}
{% macro forget_watermark_when_by_hand() -%}
    {%- if execute and flags.WHICH in ('build', 'run') and not var('build_id', none) -%}
        {%- set kept = [] -%}
        {%- for id in selected_resources if graph.nodes.get(id, {}).get('config', {}).get('materialized') == 'incremental' -%}
            {%- do kept.append(id) -%}
        {%- endfor -%}
        {%- if kept and not flags.FULL_REFRESH and adapter.get_relation(target.database, 'events', 'event_log') -%}
            {{ exceptions.raise_compiler_error(
                "By hand, tables that are kept from run to run can only be made anew: add --full-refresh, or use `traithouse refresh`."
            ) }}
        {%- endif -%}
        {%- set watermark = adapter.get_relation(target.database, 'state', 'watermark') -%}
        {%- if watermark -%}
            {{ forget_watermark(watermark) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
