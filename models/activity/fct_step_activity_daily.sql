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
        owned_events.account_key,
        owned_events.activity_date,
        owned_events.step,
        count(case when owned_events.outcome = 'start' then 1 end) as start_count,
        count(case when owned_events.outcome = 'success' then 1 end) as success_count,
        count(case when owned_events.outcome = 'failure' then 1 end) as failure_count,
        max(case when owned_events.outcome = 'failure' then owned_events.occurred_at end) as last_failure_at,
        max(case when owned_events.outcome = 'success' then owned_events.occurred_at end) as last_success_at
    from owned_events
    where owned_events.step != ''
    group by owned_events.user_key, owned_events.account_key, owned_events.activity_date, owned_events.step

),

rebuilt as (

    select
        grouped.*,
        user_nodes.node_id as user_id,
        coalesce(account_nodes.node_id, '') as account_id
    from grouped
    inner join identity_nodes as user_nodes on grouped.user_key = user_nodes.node_key
    left join identity_nodes as account_nodes on grouped.account_key = account_nodes.node_key

),

final as (

    select
        cast(rebuilt.user_key as bigint) as user_key,
        cast(rebuilt.user_id as string) as user_id,
        cast(rebuilt.account_id as string) as account_id,
        cast(rebuilt.activity_date as date) as activity_date,
        cast(rebuilt.step as string) as step,
        cast(rebuilt.start_count as bigint) as start_count,
        cast(rebuilt.success_count as bigint) as success_count,
        cast(rebuilt.failure_count as bigint) as failure_count,
        cast(rebuilt.last_failure_at as timestamp) as last_failure_at,
        cast(rebuilt.last_success_at as timestamp) as last_success_at
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('dirty_users')) }}

)

select * from written
