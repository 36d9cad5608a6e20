{{ config(
    materialized=in_place('incremental'),
    partition_by='activity_date',
    meta={'replaces': {
        'dirty': 'dirty_users',
        'condition': 'dirty.user_key = stored.user_key and stored.activity_date >= dirty.rebuild_date',
    }},
) }}
-- depends_on: {{ ref('dirty_users') }}

with owned_events as (

    select * from {{ ref('owned_events') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

grouped as (

    select
        owned_events.user_key,
        owned_events.activity_date,
        owned_events.occurred_at,
        count(*) as look_count
    from owned_events
    where owned_events.behaviour = 'pricing'
    group by owned_events.user_key, owned_events.activity_date, owned_events.occurred_at

),

final as (

    select
        cast(grouped.user_key as bigint) as user_key,
        cast(identity_nodes.node_id as string) as user_id,
        cast(grouped.activity_date as date) as activity_date,
        cast(grouped.occurred_at as timestamp) as occurred_at,
        cast(grouped.look_count as bigint) as look_count
    from grouped
    inner join identity_nodes on grouped.user_key = identity_nodes.node_key

),

written as (

    {{ with_untouched_rows('final', ref('dirty_users')) }}

)

select * from written
