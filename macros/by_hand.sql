{#-
    Before a run that `traithouse refresh` did not start: the watermark is taken away, for such a run may leave the
    tables at another clock. The next refresh then rebuilds everything.
-#}
{% macro forget_watermark_when_by_hand() -%}
    {%- if execute and flags.WHICH in ('build', 'run') and not var('build_id', none) -%}
        {%- set watermark = adapter.get_relation(target.database, 'state', 'watermark') -%}
        {%- if watermark -%}
            {#- The look-up above has opened a transaction, which dbt would roll back. #}
            delete from {{ watermark }};
            commit
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
