{{ config(
    materialized=in_place('incremental'),
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
        bucketed_events.account_key,
        bucketed_events.native_session_id,
        count(*) as event_count,
        count(case when bucketed_events.is_identified then 1 end) as identified_event_count,
        count(case when bucketed_events.outcome = 'failure' then 1 end) as failure_count,
        count(case when bucketed_events.behaviour = 'activation' then 1 end) as activation_count,
        count(case when bucketed_events.behaviour = 'core_value' then 1 end) as core_value_count,
        count(case when bucketed_events.behaviour = 'collaboration' then 1 end) as collaboration_count,
        count(case when bucketed_events.behaviour = 'invite' then 1 end) as invite_count,
        count(case when bucketed_events.behaviour = 'pricing' then 1 end) as pricing_count,
        count(case when bucketed_events.behaviour = 'error' then 1 end) as error_count,
        count(case when bucketed_events.behaviour = 'setup' then 1 end) as setup_count,
        count(case when bucketed_events.behaviour = 'signed_up' then 1 end) as signed_up_count,
        count(case when bucketed_events.behaviour = 'trial_started' then 1 end) as trial_started_count,
        count(case when bucketed_events.behaviour = 'subscribed' then 1 end) as subscribed_count,
        count(case when bucketed_events.behaviour = 'upgraded' then 1 end) as upgraded_count,
        count(case when bucketed_events.behaviour = 'downgraded' then 1 end) as downgraded_count,
        count(case when bucketed_events.behaviour = 'cancelled' then 1 end) as cancelled_count,
        count(case when bucketed_events.behaviour = 'support' then 1 end) as support_count,
        count(case when bucketed_events.behaviour = 'navigation' then 1 end) as navigation_count,
        min(bucketed_events.occurred_at) as first_event_at,
        max(bucketed_events.occurred_at) as last_event_at,
        min(case when bucketed_events.behaviour = 'activation' then bucketed_events.occurred_at end) as first_activation_at,
        min(case when bucketed_events.behaviour = 'core_value' then bucketed_events.occurred_at end) as first_core_value_at,
        max(case when bucketed_events.behaviour = 'pricing' then bucketed_events.occurred_at end) as last_pricing_at,
        max(case when bucketed_events.behaviour in ('subscribed', 'upgraded') then bucketed_events.occurred_at end)
            as last_purchase_at,
        max(case when bucketed_events.behaviour = 'trial_started' then bucketed_events.occurred_at end) as last_trial_started_at,
        max(case when bucketed_events.behaviour = 'cancelled' then bucketed_events.occurred_at end) as last_cancelled_at
    from bucketed_events
    group by
        bucketed_events.node_key,
        bucketed_events.bucket,
        bucketed_events.part,
        bucketed_events.activity_date,
        bucketed_events.account_key,
        bucketed_events.native_session_id

),

final as (

    select
        cast(grouped.node_key as bigint) as node_key,
        cast(grouped.bucket as bigint) as bucket,
        cast(grouped.part as bigint) as part,
        cast(grouped.activity_date as date) as activity_date,
        cast(grouped.account_key as bigint) as account_key,
        cast(grouped.native_session_id as string) as native_session_id,
        cast(grouped.event_count as bigint) as event_count,
        cast(grouped.identified_event_count as bigint) as identified_event_count,
        cast(grouped.failure_count as bigint) as failure_count,
        cast(grouped.activation_count as bigint) as activation_count,
        cast(grouped.core_value_count as bigint) as core_value_count,
        cast(grouped.collaboration_count as bigint) as collaboration_count,
        cast(grouped.invite_count as bigint) as invite_count,
        cast(grouped.pricing_count as bigint) as pricing_count,
        cast(grouped.error_count as bigint) as error_count,
        cast(grouped.setup_count as bigint) as setup_count,
        cast(grouped.signed_up_count as bigint) as signed_up_count,
        cast(grouped.trial_started_count as bigint) as trial_started_count,
        cast(grouped.subscribed_count as bigint) as subscribed_count,
        cast(grouped.upgraded_count as bigint) as upgraded_count,
        cast(grouped.downgraded_count as bigint) as downgraded_count,
        cast(grouped.cancelled_count as bigint) as cancelled_count,
        cast(grouped.support_count as bigint) as support_count,
        cast(grouped.navigation_count as bigint) as navigation_count,
        cast(grouped.first_event_at as timestamp) as first_event_at,
        cast(grouped.last_event_at as timestamp) as last_event_at,
        cast(grouped.first_activation_at as timestamp) as first_activation_at,
        cast(grouped.first_core_value_at as timestamp) as first_core_value_at,
        cast(grouped.last_pricing_at as timestamp) as last_pricing_at,
        cast(grouped.last_purchase_at as timestamp) as last_purchase_at,
        cast(grouped.last_trial_started_at as timestamp) as last_trial_started_at,
        cast(grouped.last_cancelled_at as timestamp) as last_cancelled_at
    from grouped

),

written as (

    {{ with_untouched_rows('final', ref('dirty_buckets')) }}

)

select * from written
