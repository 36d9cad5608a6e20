{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key=['node_type', 'node_id'], on_schema_change='fail') }}

with checked_events as (

    select * from {{ ref('checked_events') }}

),

-- Every version of an event names a node, also one that another version has replaced.
nodes as (

    select distinct
        case when coalesce(checked_events.user_id, '') = '' then 'anonymous' else 'user' end as node_type,
        coalesce(nullif(checked_events.user_id, ''), checked_events.anonymous_id) as node_id
    from checked_events
    where
        checked_events.quarantine_reason is null
        and checked_events.load_id > {{ loaded_after() }}

),

-- The owner of a node is the node itself: stitching changes this CTE, and nothing below it.
owned as (

    select
        cast(nodes.node_type as string) as node_type,
        cast(nodes.node_id as string) as node_id,
        cast(nodes.node_id as string) as user_id
    from nodes

)

select * from owned
