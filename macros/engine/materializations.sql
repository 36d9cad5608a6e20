{#-
    How a model becomes a table or a view on DuckDB. The adapter's own way makes each relation under another name, looks at
    it, renames it twice and drops it, which costs more than the many small models of a refresh. `create or replace` is one
    statement, in one transaction, and does the same.

    `table_in_place`, `view_in_place` and `incremental_in_place` are materializations next to dbt's `table`, `view` and
    `incremental`, which stay as they are; `in_place` chooses between them by engine. A config that these three do not
    support is refused: give such a model dbt's own materialization.

    `incremental_in_place` knows the strategies `append` and `replace` (replace.sql), and `on_schema_change: fail`: it adds
    rows only to a table of the same columns and types. No contract is compared then, for another definition or another
    engine always rebuilds everything.
-#}
{% materialization table_in_place, adapter='duckdb' -%}
    {%- do _refuse_unsupported_config() -%}
    {{ return(_created_in_place('table')) }}
{%- endmaterialization %}

{% materialization view_in_place, adapter='duckdb' -%}
    {%- do _refuse_unsupported_config() -%}
    {{ return(_created_in_place('view')) }}
{%- endmaterialization %}

{% materialization incremental_in_place, adapter='duckdb' -%}
    {%- do _refuse_unsupported_config() -%}
    {%- if not is_incremental() -%}
        {{ return(_created_in_place('table')) }}
    {%- endif -%}
    {%- set relation = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks) }}
    {%- call statement('main') -%}
        {{ _added_rows(relation, model.name ~ '__rows') }}
    {%- endcall -%}
    {{ run_hooks(post_hooks) }}
    {%- do adapter.commit() -%}
    {{ return({'relations': [relation]}) }}
{%- endmaterialization %}

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

{% macro _created_in_place(type) -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set relation = this.incorporate(type=type) -%}
    {%- set has_contract = config.get('contract').enforced -%}
    {%- set constraints = model.constraints + model.columns.values() | selectattr('constraints') | list -%}
    {%- if has_contract -%}
        {{ get_assert_columns_equivalent(compiled_code) }}
    {%- endif -%}
    {{ run_hooks(pre_hooks) }}
    {%- call statement('main') -%}
        {%- if existing is not none and existing.type != type %}
        drop {{ existing.type }} {{ existing }} cascade;
        {%- endif %}
        {%- if has_contract and constraints and type == 'table' %}
        create or replace table {{ relation }} {{ get_table_columns_and_constraints() }};
        insert into {{ relation }} by name (
            {{ compiled_code }}
        )
        {%- else %}
        create or replace {{ type }} {{ relation }} as (
            {{ get_select_subquery(compiled_code) if has_contract else compiled_code }}
        )
        {%- endif %}
    {%- endcall -%}
    {{ run_hooks(post_hooks) }}
    {%- do adapter.commit() -%}
    {{ return({'relations': [relation]}) }}
{%- endmacro %}

{#- The rows are made before any is deleted, for they may be made from rows that go. -#}
{% macro _added_rows(relation, rows) -%}
    create or replace temp table {{ rows }} as (
        {{ compiled_code }}
    );
    select error('{{ model.name }}: its columns or their types are not those of the table any more; refresh with --full-refresh')
    where (select list_sort(list(name || ' ' || type)) from pragma_table_info('temp.{{ rows }}'))
        != (select list_sort(list(name || ' ' || type)) from pragma_table_info('{{ relation }}'));
    {%- if config.get('incremental_strategy') == 'replace' %}
    {%- set replaces = config.get('meta').replaces %}
    delete from {{ relation }} as stored using {{ ref(replaces.dirty) }} as dirty
    where {{ replaces.condition }};
    {%- endif %}
    insert into {{ relation }} by name select * from {{ rows }};
    drop table {{ rows }}
{%- endmacro %}

{#-
    An error for whatever a model sets that these materializations would silently leave out. `supported` is what dbt itself
    carries out around any materialization, what the code above does, and `partition_by`, which is for another engine.
-#}
{% macro _refuse_unsupported_config() -%}
    {%- set supported = [
        'enabled', 'alias', 'schema', 'database', 'quoting', 'full_refresh', 'contract', 'pre-hook', 'post-hook',
        'tags', 'meta', 'group', 'access', 'docs', 'freshness', 'static_analysis',
        'materialized', 'incremental_strategy', 'on_schema_change', 'partition_by',
    ] -%}
    {%- for name, value in model.config.items() if value and name not in supported -%}
        {%- if (name, value) not in [('lookback', 1), ('on_configuration_change', 'apply')] -%}
            {%- do _refuse(name, 'is not supported') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for hook in model.config.get('pre-hook', []) + model.config.get('post-hook', []) if not hook.transaction -%}
        {%- do _refuse('hook', 'outside the transaction is not supported') -%}
    {%- endfor -%}
    {%- if config.get('materialized') == 'incremental_in_place' -%}
        {%- set strategy = config.get('incremental_strategy') -%}
        {%- if strategy not in ('append', 'replace') -%}
            {%- do _refuse('incremental_strategy', 'may be append or replace; ' ~ strategy ~ ' is not supported') -%}
        {%- elif strategy == 'replace' and not config.get('meta', {}).get('replaces') -%}
            {%- do _refuse('meta', 'lacks `replaces`, which the strategy replace needs; without it replace is not supported') -%}
        {%- elif config.get('on_schema_change') != 'fail' -%}
            {%- do _refuse('on_schema_change', 'may be fail; ' ~ config.get('on_schema_change') ~ ' is not supported') -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro _refuse(name, why) -%}
    {{ exceptions.raise_compiler_error(
        model.name ~ ': its config ' ~ name ~ ' ' ~ why ~ ' by the materialization ' ~ config.get('materialized')
        ~ '. Leave it out, or use a materialization of dbt itself: table, view or incremental.'
    ) }}
{%- endmacro %}
