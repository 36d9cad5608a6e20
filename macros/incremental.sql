{#- Highest load_id that an earlier refresh has finished with; rows above it are new. -1: everything is new. -#}
{% macro loaded_after() -%}
    {{ var('loaded_after', -1) }}
{%- endmacro %}

{#-
    Names the watermark that this run starts from. A journal keeps it in each row: after a crash the next run starts
    from the same watermark, and finds there what the first try had already changed.
-#}
{% macro since_watermark() -%}
    '{{ var("loaded_after", -1) }} {{ var("previous_as_of", none) or "" }}'
{%- endmacro %}

{#- Whether this run rebuilds everything: then nothing is dirty, and lists of changes stay empty. -#}
{% macro rebuilding() -%}
    {{ return(flags.FULL_REFRESH) }}
{%- endmacro %}

{#- A condition that holds of everything in a rebuild. -#}
{% macro unless_rebuilding(condition) -%}
    {{ 'true' if rebuilding() else '(' ~ condition ~ ')' }}
{%- endmacro %}

{#-
    Rows of a relation that a dirty row matches (`condition` joins `known` and `dirty`), with columns of the dirty row when
    asked for. Nearly all that is dirty is so from a recent day on: rows of the last days are matched with all of it, older
    rows only with what has long been dirty, so that an engine can skip old rows by their days. `since` is the dirty row's
    first day; two days of slack allow for any time zone, and `back` days for rows of the days before it.
-#}
{% macro dirty_rows(relation, day, dirty, since, condition, columns=[], back=0) -%}
    {%- set matched -%}
    select
        known.*{% for column in columns %},
        dirty.{{ column }}{% endfor %}
    from {{ relation }} as known
    inner join {{ dirty }} as dirty
        on {{ condition }}
    {%- endset -%}
    {{ matched }}
    {%- if not flags.FULL_REFRESH %}
    where known.{{ day }} >= {{ days_ago(7) }}
    union all
    {{ matched }}
    where
        known.{{ day }} < {{ days_ago(7) }}
        and dirty.{{ since }} < {{ days_ago(5 - back) }}
    {%- endif -%}
{%- endmacro %}

{#- Rows of dirty users from their first dirty day on, or from so many days before it; in a rebuild all rows. -#}
{% macro rows_of_dirty_users(relation, day, back=0) -%}
    {%- if flags.FULL_REFRESH -%}
    select * from {{ relation }}
    {%- else -%}
    {{ dirty_rows(
        relation, day, ref('dirty_users'), 'rebuild_date',
        'known.user_key = dirty.user_key and known.' ~ day ~ ' >= ' ~ earlier_day('dirty.rebuild_date', back), back=back
    ) }}
    {%- endif -%}
{%- endmacro %}

{#- Rows of touched account days, or also of so many days before each, once each; in a rebuild all rows. -#}
{% macro rows_of_touched_accounts(relation, day, back=0) -%}
    {%- if flags.FULL_REFRESH -%}
    select * from {{ relation }}
    {%- else -%}
    {%- set on_the_day = 'known.account_id = dirty.account_id and known.' ~ day ~ ' = dirty.activity_date' -%}
    {%- set until_the_day = 'known.account_id = dirty.account_id and known.' ~ day ~ ' <= dirty.activity_date and known.'
        ~ day ~ ' >= ' ~ earlier_day('dirty.activity_date', back) -%}
    {%- set matched = dirty_rows(
        relation, day, ref('touched_account_days'), 'activity_date', until_the_day if back else on_the_day, back=back
    ) -%}
    {%- if back -%}
    select distinct * from ({{ matched }}) as matched
    {%- else -%}
    {{ matched }}
    {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{#- The day so many days before another. -#}
{% macro earlier_day(day, days) -%}
    {{ 'cast(' ~ dbt.dateadd('day', -1 * days, day) ~ ' as date)' if days else day }}
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

{#- Condition of a work list of the run: in a rebuild it has no rows. -#}
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
