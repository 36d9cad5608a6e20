{#-
    How a model becomes a table or a view on DuckDB, in place of the adapter's own way: that one makes each relation under
    another name, looks at it, renames it twice and drops it, which for the many small models of a refresh costs more than
    the models. `create or replace` is one statement, in one transaction, and does the same. What the project does not use is
    left out: grants, indexes, comments, Python models, hooks outside the transaction, and on_schema_change, which is Spark's.

    In an increment no contract is compared: another definition or another engine always rebuilds everything.
-#}
{% materialization table, adapter='duckdb' -%}
    {{ return(_made_anew('table')) }}
{%- endmaterialization %}

{% materialization view, adapter='duckdb' -%}
    {{ return(_made_anew('view')) }}
{%- endmaterialization %}

{% materialization incremental, adapter='duckdb' -%}
    {%- if not is_incremental() -%}
        {{ return(_made_anew('table')) }}
    {%- endif -%}
    {%- set relation = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks) }}
    {%- call statement('main') -%}
        {{ _replaced_rows(relation, model.name ~ '__rows') if config.get('incremental_strategy') == 'replace' else
            'insert into ' ~ relation ~ ' by name (' ~ compiled_code ~ ')' }}
    {%- endcall -%}
    {{ run_hooks(post_hooks) }}
    {%- do adapter.commit() -%}
    {{ return({'relations': [relation]}) }}
{%- endmaterialization %}

{% macro _made_anew(type) -%}
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
{% macro _replaced_rows(relation, rows) -%}
    {%- set replaces = config.get('meta').replaces -%}
    create or replace temp table {{ rows }} as (
        {{ compiled_code }}
    );
    delete from {{ relation }} as stored using {{ ref(replaces.dirty) }} as dirty
    where {{ replaces.condition }};
    insert into {{ relation }} by name select * from {{ rows }};
    drop table {{ rows }}
{%- endmacro %}
