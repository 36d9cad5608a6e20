{#- Highest load_id that an earlier refresh has finished with; rows above it are new. -1: everything is new. -#}
{% macro loaded_after() -%}
    {{ var('loaded_after', -1) }}
{%- endmacro %}

{#-
    Names the watermark that this run starts from. A journal keeps it beside each row: after a crash the next run starts
    from the same watermark, and finds there what the first try had already changed.
-#}
{% macro since_watermark() -%}
    '{{ var("loaded_after", -1) }} {{ var("previous_as_of", none) or "" }}'
{%- endmacro %}

{#- Whether this run rebuilds everything: then nothing is dirty, and what tells of changes stays empty. -#}
{% macro rebuilding() -%}
    {{ return(flags.FULL_REFRESH) }}
{%- endmacro %}

{#- A condition that holds of everything in a rebuild. -#}
{% macro unless_rebuilding(condition) -%}
    {{ 'true' if rebuilding() else '(' ~ condition ~ ')' }}
{%- endmacro %}

{#- Restricts an incremental model to rows that some row of `dirty` matches; a rebuilt model takes every row. -#}
{% macro only_dirty(dirty, condition) -%}
    {{ 'exists (select 1 from ' ~ dirty ~ ' as dirty where ' ~ condition ~ ')' if is_incremental() else 'true' }}
{%- endmacro %}

{#- Whether an event is new to this run: loaded since the watermark, or passed by as_of since then. -#}
{% macro is_new(events) -%}
    (
        {{ events }}.load_id > {{ loaded_after() }}
        {%- if var('previous_as_of', none) %}
        or {{ events }}.occurred_at >= cast('{{ var("previous_as_of") }}' as timestamp)
        {%- endif %}
    )
{%- endmacro %}

{#- Condition of a table that tells what a run has to do: in a rebuild it has no rows. -#}
{% macro in_increment() -%}
    {{ 'false' if rebuilding() else 'true' }}
{%- endmacro %}

{#-
    A later model's table as the last run left it; nothing in a rebuild or before the first build. It is no ref, for that
    model depends on the one that asks.
-#}
{% macro stored(schema, name) -%}
    {%- if execute and not rebuilding() -%}
        {{ return(adapter.get_relation(database=target.database, schema=schema, identifier=name)) }}
    {%- endif -%}
    {{ return(none) }}
{%- endmacro %}

{#- Ends of the time line, for intervals without one. -#}
{% macro beginning_of_time() -%}
    cast('0001-01-01 00:00:00' as timestamp)
{%- endmacro %}

{% macro end_of_time() -%}
    cast('9999-12-31 00:00:00' as timestamp)
{%- endmacro %}
