{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ delete_touched() }}', on_schema_change='fail') }}

with user_events as (

    select * from {{ ref('user_events') }}

),

with_previous as (

    select
        user_events.user_id,
        user_events.event_id,
        user_events.occurred_at,
        user_events.behaviour,
        user_events.feature,
        lag(user_events.occurred_at) over (
            partition by user_events.user_id
            order by user_events.occurred_at asc nulls last, user_events.event_id asc nulls last
        ) as previous_at
    from user_events
    where {{ only_touched('user_events.user_id') }}

),

-- A silence longer than the gap begins a new session; a silence of exactly the gap does not.
numbered as (

    select
        with_previous.*,
        sum(
            case
                when with_previous.previous_at is null then 1
                when
                    with_previous.occurred_at
                    > with_previous.previous_at + interval '{{ var("session_gap_minutes") }} minutes' then 1
                else 0
            end
        ) over (
            partition by with_previous.user_id
            order by with_previous.occurred_at asc nulls last, with_previous.event_id asc nulls last
            rows between unbounded preceding and current row
        ) as session_number
    from with_previous

),

sessions as (

    select
        numbered.user_id,
        numbered.session_number,
        min(numbered.occurred_at) as started_at,
        max(numbered.occurred_at) as ended_at,
        count(*) as event_count,
        count(distinct nullif(numbered.feature, '')) as feature_count,
        count(case when numbered.behaviour = 'activation' then 1 end) as activation_count,
        count(case when numbered.behaviour = 'core_value' then 1 end) as core_value_count,
        count(case when numbered.behaviour = 'collaboration' then 1 end) as collaboration_count,
        count(case when numbered.behaviour = 'invite' then 1 end) as invite_count,
        count(case when numbered.behaviour = 'pricing' then 1 end) as pricing_count,
        count(case when numbered.behaviour = 'error' then 1 end) as error_count,
        count(case when numbered.behaviour = 'setup' then 1 end) as setup_count,
        count(case when numbered.behaviour = 'signed_up' then 1 end) as signed_up_count,
        count(case when numbered.behaviour = 'trial_started' then 1 end) as trial_started_count,
        count(case when numbered.behaviour = 'subscribed' then 1 end) as subscribed_count,
        count(case when numbered.behaviour = 'upgraded' then 1 end) as upgraded_count,
        count(case when numbered.behaviour = 'downgraded' then 1 end) as downgraded_count,
        count(case when numbered.behaviour = 'cancelled' then 1 end) as cancelled_count,
        count(case when numbered.behaviour = 'support' then 1 end) as support_count,
        count(case when numbered.behaviour = 'navigation' then 1 end) as navigation_count
    from numbered
    group by numbered.user_id, numbered.session_number

),

-- Two sessions of one user never begin at one instant, so user and beginning identify a session for good.
final as (

    select
        cast({{ dbt.hash(dbt.concat([
            'sessions.user_id', "'|'", 'cast(' ~ epoch_micros('sessions.started_at') ~ ' as string)',
        ])) }} as string) as session_id,
        cast(sessions.user_id as string) as user_id,
        cast(sessions.started_at as timestamp) as started_at,
        cast(sessions.ended_at as timestamp) as ended_at,
        cast({{ reporting_date('sessions.started_at') }} as date) as session_date,
        cast({{ dbt.datediff('sessions.started_at', 'sessions.ended_at', 'second') }} as bigint) as duration_seconds,
        cast(sessions.event_count as bigint) as event_count,
        cast(sessions.feature_count as bigint) as feature_count,
        cast(sessions.activation_count as bigint) as activation_count,
        cast(sessions.core_value_count as bigint) as core_value_count,
        cast(sessions.collaboration_count as bigint) as collaboration_count,
        cast(sessions.invite_count as bigint) as invite_count,
        cast(sessions.pricing_count as bigint) as pricing_count,
        cast(sessions.error_count as bigint) as error_count,
        cast(sessions.setup_count as bigint) as setup_count,
        cast(sessions.signed_up_count as bigint) as signed_up_count,
        cast(sessions.trial_started_count as bigint) as trial_started_count,
        cast(sessions.subscribed_count as bigint) as subscribed_count,
        cast(sessions.upgraded_count as bigint) as upgraded_count,
        cast(sessions.downgraded_count as bigint) as downgraded_count,
        cast(sessions.cancelled_count as bigint) as cancelled_count,
        cast(sessions.support_count as bigint) as support_count,
        cast(sessions.navigation_count as bigint) as navigation_count
    from sessions

)

select * from final
