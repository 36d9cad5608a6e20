{#-
    Incremental rows are replaced, never merged: every stored row that a row of the dirty table matches goes, and the
    model's rows take its place. A model declares it as `meta.replaces`: `dirty`, the model that holds what is dirty, and
    `condition`, which joins `dirty` and `stored`.

    DuckDB deletes, then appends, in one transaction. Spark has no row deletes: the model's rows and the kept rows
    overwrite whole partitions (dynamic insert_overwrite); a partition of which nothing is kept is dropped before.
-#}
{% macro replace_dirty() -%}
    {%- if execute and is_incremental() and config.get('meta', {}).get('replaces') -%}
        {%- set replaces = config.get('meta').replaces -%}
        {{ adapter.dispatch('replace_dirty')(ref(replaces.dirty), replaces.condition) }}
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__replace_dirty(dirty, condition) -%}
    delete from {{ this }} as stored using {{ dirty }} as dirty where {{ condition }}
{%- endmacro %}

{% macro spark__replace_dirty(dirty, condition) -%}
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
{% macro with_kept(rows, dirty) -%}
    {{ adapter.dispatch('with_kept')(rows, dirty) }}
{%- endmacro %}

{% macro duckdb__with_kept(rows, dirty) -%}
    select * from {{ rows }}
{%- endmacro %}

{% macro spark__with_kept(rows, dirty) -%}
    select * from {{ rows }}
    {%- if is_incremental() %}
    {%- set partition = config.get('partition_by') -%}
    {%- set condition = config.get('meta').replaces.condition %}
    union all
    select stored.*
    from {{ this }} as stored
    left anti join {{ dirty }} as dirty on {{ condition }}
    where stored.{{ partition }} in (
        select {{ partition }} from {{ rows }}
        union
        select stored.{{ partition }} from {{ this }} as stored left semi join {{ dirty }} as dirty on {{ condition }}
    )
    {%- endif %}
{%- endmacro %}
