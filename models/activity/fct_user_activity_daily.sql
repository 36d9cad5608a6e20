{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ delete_touched() }}', on_schema_change='fail') }}

with user_events as (

    select * from {{ ref('user_events') }}

),

fct_sessions as (

    select * from {{ ref('fct_sessions') }}

),

events_by_day as (

    select
        user_events.user_id,
        user_events.activity_date,
        count(*) as event_count,
        count(distinct nullif(user_events.feature, '')) as feature_count,
        count(case when user_events.outcome = 'failure' then 1 end) as failure_count,
        count(case when user_events.behaviour = 'activation' then 1 end) as activation_count,
        count(case when user_events.behaviour = 'core_value' then 1 end) as core_value_count,
        count(case when user_events.behaviour = 'collaboration' then 1 end) as collaboration_count,
        count(case when user_events.behaviour = 'invite' then 1 end) as invite_count,
        count(case when user_events.behaviour = 'pricing' then 1 end) as pricing_count,
        count(case when user_events.behaviour = 'error' then 1 end) as error_count,
        count(case when user_events.behaviour = 'setup' then 1 end) as setup_count,
        count(case when user_events.behaviour = 'signed_up' then 1 end) as signed_up_count,
        count(case when user_events.behaviour = 'trial_started' then 1 end) as trial_started_count,
        count(case when user_events.behaviour = 'subscribed' then 1 end) as subscribed_count,
        count(case when user_events.behaviour = 'upgraded' then 1 end) as upgraded_count,
        count(case when user_events.behaviour = 'downgraded' then 1 end) as downgraded_count,
        count(case when user_events.behaviour = 'cancelled' then 1 end) as cancelled_count,
        count(case when user_events.behaviour = 'support' then 1 end) as support_count,
        count(case when user_events.behaviour = 'navigation' then 1 end) as navigation_count,
        min(user_events.occurred_at) as first_event_at,
        max(user_events.occurred_at) as last_event_at,
        min(case when user_events.behaviour = 'core_value' then user_events.occurred_at end) as first_core_value_at,
        max(case when user_events.behaviour = 'pricing' then user_events.occurred_at end) as last_pricing_at,
        max(case when user_events.behaviour in ('subscribed', 'upgraded') then user_events.occurred_at end)
            as last_purchase_at
    from user_events
    where {{ only_touched('user_events.user_id') }}
    group by user_events.user_id, user_events.activity_date

),

-- A session counts on the day on which it began.
sessions_by_day as (

    select
        fct_sessions.user_id,
        fct_sessions.session_date as activity_date,
        count(*) as session_count,
        sum(fct_sessions.duration_seconds) as active_seconds
    from fct_sessions
    where {{ only_touched('fct_sessions.user_id') }}
    group by fct_sessions.user_id, fct_sessions.session_date

),

final as (

    select
        cast(events_by_day.user_id as string) as user_id,
        cast(events_by_day.activity_date as date) as activity_date,
        cast(events_by_day.event_count as bigint) as event_count,
        cast(coalesce(sessions_by_day.session_count, 0) as bigint) as session_count,
        cast(coalesce(sessions_by_day.active_seconds, 0) as bigint) as active_seconds,
        cast(events_by_day.feature_count as bigint) as feature_count,
        cast(events_by_day.failure_count as bigint) as failure_count,
        cast(events_by_day.activation_count as bigint) as activation_count,
        cast(events_by_day.core_value_count as bigint) as core_value_count,
        cast(events_by_day.collaboration_count as bigint) as collaboration_count,
        cast(events_by_day.invite_count as bigint) as invite_count,
        cast(events_by_day.pricing_count as bigint) as pricing_count,
        cast(events_by_day.error_count as bigint) as error_count,
        cast(events_by_day.setup_count as bigint) as setup_count,
        cast(events_by_day.signed_up_count as bigint) as signed_up_count,
        cast(events_by_day.trial_started_count as bigint) as trial_started_count,
        cast(events_by_day.subscribed_count as bigint) as subscribed_count,
        cast(events_by_day.upgraded_count as bigint) as upgraded_count,
        cast(events_by_day.downgraded_count as bigint) as downgraded_count,
        cast(events_by_day.cancelled_count as bigint) as cancelled_count,
        cast(events_by_day.support_count as bigint) as support_count,
        cast(events_by_day.navigation_count as bigint) as navigation_count,
        cast(events_by_day.first_event_at as timestamp) as first_event_at,
        cast(events_by_day.last_event_at as timestamp) as last_event_at,
        cast(events_by_day.first_core_value_at as timestamp) as first_core_value_at,
        cast(events_by_day.last_pricing_at as timestamp) as last_pricing_at,
        cast(events_by_day.last_purchase_at as timestamp) as last_purchase_at
    from events_by_day
    left join sessions_by_day
        on
            events_by_day.user_id = sessions_by_day.user_id
            and events_by_day.activity_date = sessions_by_day.activity_date

)

select * from final
