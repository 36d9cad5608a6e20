{#-
    Incremental rows are replaced, never merged: every stored row that a row of the dirty table matches goes, and the
    model's rows take its place. A model declares it as `meta.replaces`: `dirty`, the model that holds what is dirty, and
    `condition`, which joins `dirty` and `stored`.

    DuckDB deletes and inserts in one transaction (materializations.sql). Spark has no row deletes: the model's rows and
    the kept rows overwrite whole partitions (dynamic insert_overwrite); a partition of which nothing is kept is dropped
    before, by this hook.
-#}
{% macro drop_emptied_partitions() -%}
    {{ adapter.dispatch('drop_emptied_partitions')() }}
{%- endmacro %}

{% macro duckdb__drop_emptied_partitions() -%}
{%- endmacro %}

{% macro spark__drop_emptied_partitions() -%}
    {%- if execute and is_incremental() and config.get('meta', {}).get('replaces') -%}
        {%- do _drop_emptied_partitions(ref(config.get('meta').replaces.dirty), config.get('meta').replaces.condition) -%}
    {%- endif -%}
{%- endmacro %}

{% macro _drop_emptied_partitions(dirty, condition) -%}
    {%- set partition = config.get('partition_by') -%}
    {%- set emptied -%}
        select every.partition_value
        from (
            select cast({{ partition }} as string) as partition_value, count(*) as row_count
            from {{ this }} group by {{ partition }}
        ) as every
        inner join (
            select cast(stored.{{ partition }} as string) as partition_value, count(*) as row_count
            from {{ this }} as stored left semi join {{ dirty }} as dirty on {{ condition }}
            group by stored.{{ partition }}
        ) as gone
            on every.partition_value = gone.partition_value and every.row_count = gone.row_count
    {%- endset -%}
    {%- for row in run_query(emptied) -%}
        {%- do run_query("alter table " ~ this ~ " drop if exists partition (" ~ partition ~ " = '" ~ row[0] ~ "')") -%}
    {%- endfor -%}
{%- endmacro %}

{#- The model's rows; where an engine overwrites partitions, with the kept rows of the partitions that are touched. -#}
{% macro with_untouched_rows(rows, dirty) -%}
    {{ adapter.dispatch('with_untouched_rows')(rows, dirty) }}
{%- endmacro %}

{#- Sorted by day in a rebuild (later rows come day by day), so that a refresh can skip old days. -#}
{% macro duckdb__with_untouched_rows(rows, dirty) -%}
    select * from {{ rows }}
    {%- if config.get('partition_by') in ('activity_date', 'session_date') and not is_incremental() %}
    order by {{ config.get('partition_by') }}
    {%- endif %}
{%- endmacro %}

{#- By name: in a Spark table the partition column stands last. -#}
{% macro spark__with_untouched_rows(rows, dirty) -%}
    {%- if not is_incremental() -%}
    select * from {{ rows }}
    {%- else -%}
    {%- set partition = config.get('partition_by') -%}
    {%- set condition = config.get('meta').replaces.condition -%}
    {%- set columns = adapter.get_columns_in_relation(this) | map(attribute='name') | list %}
    select {{ columns | join(', ') }} from {{ rows }}
    union all
    select {% for column in columns %}stored.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
    from {{ this }} as stored
    left anti join {{ dirty }} as dirty on {{ condition }}
    where stored.{{ partition }} in (
        select {{ partition }} from {{ rows }}
        union
        select stored.{{ partition }} from {{ this }} as stored left semi join {{ dirty }} as dirty on {{ condition }}
    )
    {%- endif %}
{%- endmacro %}
