{{ config(
    materialized='incremental',
    partition_by='activity_date',
    meta={'replaces': {
        'dirty': 'dirty_buckets',
        'condition': 'dirty.node_key = stored.node_key and dirty.bucket = stored.bucket',
    }},
) }}

with bucketed_events as (

    select * from {{ ref('bucketed_events') }}

),

grouped as (

    select
        bucketed_events.node_key,
        bucketed_events.bucket,
        bucketed_events.part,
        bucketed_events.activity_date,
        bucketed_events.account_id,
        bucketed_events.feature,
        bucketed_events.step,
        count(*) as event_count,
        sum(case when bucketed_events.outcome = 'start' then 1 else 0 end) as start_count,
        sum(case when bucketed_events.outcome = 'success' then 1 else 0 end) as success_count,
        sum(case when bucketed_events.outcome = 'failure' then 1 else 0 end) as failure_count,
        max(case when bucketed_events.outcome = 'failure' then bucketed_events.occurred_at end) as last_failure_at,
        max(case when bucketed_events.outcome = 'success' then bucketed_events.occurred_at end) as last_success_at,
        min(bucketed_events.occurred_at) as first_event_at
    from bucketed_events
    where bucketed_events.feature != '' or bucketed_events.step != ''
    group by
        bucketed_events.node_key,
        bucketed_events.bucket,
        bucketed_events.part,
        bucketed_events.activity_date,
        bucketed_events.account_id,
        bucketed_events.feature,
        bucketed_events.step

),

final as (

    select
        cast(grouped.node_key as bigint) as node_key,
        cast(grouped.bucket as bigint) as bucket,
        cast(grouped.part as bigint) as part,
        cast(grouped.activity_date as date) as activity_date,
        cast(grouped.account_id as string) as account_id,
        cast(grouped.feature as string) as feature,
        cast(grouped.step as string) as step,
        cast(grouped.event_count as bigint) as event_count,
        cast(grouped.start_count as bigint) as start_count,
        cast(grouped.success_count as bigint) as success_count,
        cast(grouped.failure_count as bigint) as failure_count,
        cast(grouped.last_failure_at as timestamp) as last_failure_at,
        cast(grouped.last_success_at as timestamp) as last_success_at,
        cast(grouped.first_event_at as timestamp) as first_event_at
    from grouped

),

written as (

    {{ with_kept('final', ref('dirty_buckets')) }}

)

select * from written
