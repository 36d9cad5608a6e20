{#-
    The connected component of each node of a graph: rows node_key, component_key (the least node_key that is reached).
    `edges` is a relation with from_key and to_key, each edge in both directions.
-#}
{% macro connected_components(edges) -%}
    {{ adapter.dispatch('connected_components')(edges) }}
{%- endmacro %}

{% macro duckdb__connected_components(edges) -%}
    select
        reached.node_key,
        min(reached.component_key) as component_key
    from (
        with recursive walk (node_key, component_key) as (
            select from_key, from_key from {{ edges }}
            union
            select e.to_key, walk.component_key
            from walk
            inner join {{ edges }} as e on walk.node_key = e.from_key
            where walk.component_key < e.to_key
        )
        select node_key, component_key from walk
    ) as reached
    group by reached.node_key
{%- endmacro %}

{#- Spark's recursion knows no distinct union: labels go round in tables until none changes, and jump to save rounds. -#}
{% macro spark__connected_components(edges) -%}
    {%- set state = namespace(labels=edges.schema ~ '.component_labels_0', settled=not execute) -%}
    {%- if execute -%}
        {%- do run_query('drop table if exists ' ~ state.labels) -%}
        {%- do run_query(
            'create table ' ~ state.labels ~ ' using parquet as select from_key as node_key,'
            ~ ' least(from_key, min(to_key)) as component_key from ' ~ edges ~ ' group by from_key'
        ) -%}
    {%- endif -%}
    {%- for round in range(1, 1000) -%}
        {%- if not state.settled -%}
            {%- set next = edges.schema ~ '.component_labels_' ~ (round % 2) -%}
            {%- do run_query('drop table if exists ' ~ next) -%}
            {%- set step -%}
                create table {{ next }} using parquet as
                select own.node_key, min(least(own.component_key, near.component_key, jump.component_key)) as component_key
                from {{ state.labels }} as own
                inner join {{ edges }} as e on own.node_key = e.from_key
                inner join {{ state.labels }} as near on e.to_key = near.node_key
                inner join {{ state.labels }} as jump on near.component_key = jump.node_key
                group by own.node_key
            {%- endset -%}
            {%- do run_query(step) -%}
            {%- set changed = run_query(
                'select count(*) from ' ~ next ~ ' as n inner join ' ~ state.labels
                ~ ' as o on n.node_key = o.node_key where n.component_key <> o.component_key'
            ) -%}
            {%- set state.settled = changed.rows[0][0] == 0 -%}
            {%- set state.labels = next -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if not state.settled -%}
        {{ exceptions.raise_compiler_error("The merges of users did not settle in 1000 rounds: see " ~ edges) }}
    {%- endif -%}
    select node_key, component_key from {{ state.labels }}
{%- endmacro %}
