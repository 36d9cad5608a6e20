{{ config(
    materialized='incremental',
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
        owned_events.account_id,
        owned_events.activity_date,
        owned_events.feature,
        count(*) as event_count
    from owned_events
    where owned_events.feature != ''
    group by owned_events.user_key, owned_events.account_id, owned_events.activity_date, owned_events.feature

),

rebuilt as (

    select
        grouped.*,
        identity_nodes.node_id as user_id
    from grouped
    inner join identity_nodes on grouped.user_key = identity_nodes.node_key

),

final as (

    select
        cast(rebuilt.user_key as bigint) as user_key,
        cast(rebuilt.user_id as string) as user_id,
        cast(rebuilt.account_id as string) as account_id,
        cast(rebuilt.activity_date as date) as activity_date,
        cast(rebuilt.feature as string) as feature,
        cast(rebuilt.event_count as bigint) as event_count
    from rebuilt

),

written as (

    {{ with_kept('final', ref('dirty_users')) }}

)

select * from written
