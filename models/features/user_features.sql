with fct_user_activity_daily as (

    select * from {{ ref('fct_user_activity_daily') }}

),

user_rhythm as (

    select * from {{ ref('user_rhythm') }}

),

population_activity as (

    select * from {{ ref('population_activity') }}

),

recent_days as (

    select
        fct_user_activity_daily.*,
        coalesce(
            fct_user_activity_daily.activity_date > {{ reporting_date('user_rhythm.last_purchase_at') }}, true
        ) as is_since_purchase
    from fct_user_activity_daily
    inner join user_rhythm on fct_user_activity_daily.user_id = user_rhythm.user_id
    where
        fct_user_activity_daily.activity_date > {{ days_ago(90) }}
        and fct_user_activity_daily.activity_date <= {{ as_of_date() }}

),

windows as (

    select
        recent_days.user_id,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then 1 else 0 end) as active_days_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then 1 else 0 end) as active_days_28d,
        count(*) as active_days_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.event_count else 0 end) as events_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.event_count else 0 end) as events_28d,
        sum(recent_days.event_count) as events_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.session_count else 0 end) as sessions_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.session_count else 0 end) as sessions_28d,
        sum(recent_days.session_count) as sessions_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.active_seconds else 0 end) as active_seconds_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.active_seconds else 0 end) as active_seconds_28d,
        sum(recent_days.active_seconds) as active_seconds_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.failure_count else 0 end) as failures_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.failure_count else 0 end) as failures_28d,
        sum(recent_days.failure_count) as failures_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.activation_count else 0 end) as activation_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.activation_count else 0 end) as activation_28d,
        sum(recent_days.activation_count) as activation_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.core_value_count else 0 end) as core_value_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.core_value_count else 0 end) as core_value_28d,
        sum(recent_days.core_value_count) as core_value_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.collaboration_count else 0 end) as collaboration_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.collaboration_count else 0 end) as collaboration_28d,
        sum(recent_days.collaboration_count) as collaboration_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.invite_count else 0 end) as invite_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.invite_count else 0 end) as invite_28d,
        sum(recent_days.invite_count) as invite_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.pricing_count else 0 end) as pricing_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.pricing_count else 0 end) as pricing_28d,
        sum(
            case
                when recent_days.activity_date > {{ days_ago(28) }} and recent_days.is_since_purchase
                    then recent_days.pricing_count
                else 0
            end
        ) as pricing_since_purchase_28d,
        sum(recent_days.pricing_count) as pricing_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.error_count else 0 end) as error_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.error_count else 0 end) as error_28d,
        sum(recent_days.error_count) as error_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.setup_count else 0 end) as setup_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.setup_count else 0 end) as setup_28d,
        sum(recent_days.setup_count) as setup_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.signed_up_count else 0 end) as signed_up_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.signed_up_count else 0 end) as signed_up_28d,
        sum(recent_days.signed_up_count) as signed_up_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.trial_started_count else 0 end) as trial_started_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.trial_started_count else 0 end) as trial_started_28d,
        sum(recent_days.trial_started_count) as trial_started_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.subscribed_count else 0 end) as subscribed_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.subscribed_count else 0 end) as subscribed_28d,
        sum(recent_days.subscribed_count) as subscribed_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.upgraded_count else 0 end) as upgraded_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.upgraded_count else 0 end) as upgraded_28d,
        sum(recent_days.upgraded_count) as upgraded_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.downgraded_count else 0 end) as downgraded_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.downgraded_count else 0 end) as downgraded_28d,
        sum(recent_days.downgraded_count) as downgraded_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.cancelled_count else 0 end) as cancelled_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.cancelled_count else 0 end) as cancelled_28d,
        sum(recent_days.cancelled_count) as cancelled_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.support_count else 0 end) as support_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.support_count else 0 end) as support_28d,
        sum(recent_days.support_count) as support_90d,
        sum(case when recent_days.activity_date > {{ days_ago(7) }} then recent_days.navigation_count else 0 end) as navigation_7d,
        sum(case when recent_days.activity_date > {{ days_ago(28) }} then recent_days.navigation_count else 0 end) as navigation_28d,
        sum(recent_days.navigation_count) as navigation_90d
    from recent_days
    group by recent_days.user_id

),

today as (

    select population_activity.weight_to_date
    from population_activity
    where population_activity.calendar_date = {{ as_of_date() }}

),

-- A silent day counts only as far as the population was there to be heard; 1000 thousandths are one full day.
silence as (

    select
        user_rhythm.user_id,
        {{ dbt.datediff('user_rhythm.last_active_date', as_of_date(), 'day') }} as silent_days,
        (today.weight_to_date - coalesce(last_days.weight_to_date, 0)) / 1000.0 as adjusted_silent_days
    from user_rhythm
    cross join today
    left join population_activity as last_days
        on user_rhythm.last_active_date = last_days.calendar_date

),

final as (

    select
        cast(user_rhythm.user_id as string) as user_id,
        cast({{ as_of() }} as timestamp) as as_of,
        cast(user_rhythm.first_active_date as date) as first_active_date,
        cast(user_rhythm.last_active_date as date) as last_active_date,
        cast(user_rhythm.first_core_value_at as timestamp) as first_core_value_at,
        cast(user_rhythm.last_pricing_at as timestamp) as last_pricing_at,
        cast(user_rhythm.last_purchase_at as timestamp) as last_purchase_at,
        cast(silence.silent_days as bigint) as silent_days,
        cast(round(silence.adjusted_silent_days, 1) as double) as adjusted_silent_days,
        cast({{ dbt.datediff(reporting_date('user_rhythm.last_pricing_at'), as_of_date(), 'day') }} as bigint)
            as days_since_pricing,
        cast(user_rhythm.gap_count as bigint) as gap_count,
        cast(user_rhythm.long_gap_days as double) as long_gap_days,
        cast(user_rhythm.active_days_before_silence as bigint) as active_days_before_silence,
        cast(coalesce(windows.active_days_7d, 0) as bigint) as active_days_7d,
        cast(coalesce(windows.active_days_28d, 0) as bigint) as active_days_28d,
        cast(coalesce(windows.active_days_90d, 0) as bigint) as active_days_90d,
        cast(coalesce(windows.events_7d, 0) as bigint) as events_7d,
        cast(coalesce(windows.events_28d, 0) as bigint) as events_28d,
        cast(coalesce(windows.events_90d, 0) as bigint) as events_90d,
        cast(coalesce(windows.sessions_7d, 0) as bigint) as sessions_7d,
        cast(coalesce(windows.sessions_28d, 0) as bigint) as sessions_28d,
        cast(coalesce(windows.sessions_90d, 0) as bigint) as sessions_90d,
        cast(coalesce(windows.active_seconds_7d, 0) as bigint) as active_seconds_7d,
        cast(coalesce(windows.active_seconds_28d, 0) as bigint) as active_seconds_28d,
        cast(coalesce(windows.active_seconds_90d, 0) as bigint) as active_seconds_90d,
        cast(coalesce(windows.failures_7d, 0) as bigint) as failures_7d,
        cast(coalesce(windows.failures_28d, 0) as bigint) as failures_28d,
        cast(coalesce(windows.failures_90d, 0) as bigint) as failures_90d,
        cast(coalesce(windows.activation_7d, 0) as bigint) as activation_7d,
        cast(coalesce(windows.activation_28d, 0) as bigint) as activation_28d,
        cast(coalesce(windows.activation_90d, 0) as bigint) as activation_90d,
        cast(coalesce(windows.core_value_7d, 0) as bigint) as core_value_7d,
        cast(coalesce(windows.core_value_28d, 0) as bigint) as core_value_28d,
        cast(coalesce(windows.core_value_90d, 0) as bigint) as core_value_90d,
        cast(coalesce(windows.collaboration_7d, 0) as bigint) as collaboration_7d,
        cast(coalesce(windows.collaboration_28d, 0) as bigint) as collaboration_28d,
        cast(coalesce(windows.collaboration_90d, 0) as bigint) as collaboration_90d,
        cast(coalesce(windows.invite_7d, 0) as bigint) as invite_7d,
        cast(coalesce(windows.invite_28d, 0) as bigint) as invite_28d,
        cast(coalesce(windows.invite_90d, 0) as bigint) as invite_90d,
        cast(coalesce(windows.pricing_7d, 0) as bigint) as pricing_7d,
        cast(coalesce(windows.pricing_28d, 0) as bigint) as pricing_28d,
        cast(coalesce(windows.pricing_since_purchase_28d, 0) as bigint) as pricing_since_purchase_28d,
        cast(coalesce(windows.pricing_90d, 0) as bigint) as pricing_90d,
        cast(coalesce(windows.error_7d, 0) as bigint) as error_7d,
        cast(coalesce(windows.error_28d, 0) as bigint) as error_28d,
        cast(coalesce(windows.error_90d, 0) as bigint) as error_90d,
        cast(coalesce(windows.setup_7d, 0) as bigint) as setup_7d,
        cast(coalesce(windows.setup_28d, 0) as bigint) as setup_28d,
        cast(coalesce(windows.setup_90d, 0) as bigint) as setup_90d,
        cast(coalesce(windows.signed_up_7d, 0) as bigint) as signed_up_7d,
        cast(coalesce(windows.signed_up_28d, 0) as bigint) as signed_up_28d,
        cast(coalesce(windows.signed_up_90d, 0) as bigint) as signed_up_90d,
        cast(coalesce(windows.trial_started_7d, 0) as bigint) as trial_started_7d,
        cast(coalesce(windows.trial_started_28d, 0) as bigint) as trial_started_28d,
        cast(coalesce(windows.trial_started_90d, 0) as bigint) as trial_started_90d,
        cast(coalesce(windows.subscribed_7d, 0) as bigint) as subscribed_7d,
        cast(coalesce(windows.subscribed_28d, 0) as bigint) as subscribed_28d,
        cast(coalesce(windows.subscribed_90d, 0) as bigint) as subscribed_90d,
        cast(coalesce(windows.upgraded_7d, 0) as bigint) as upgraded_7d,
        cast(coalesce(windows.upgraded_28d, 0) as bigint) as upgraded_28d,
        cast(coalesce(windows.upgraded_90d, 0) as bigint) as upgraded_90d,
        cast(coalesce(windows.downgraded_7d, 0) as bigint) as downgraded_7d,
        cast(coalesce(windows.downgraded_28d, 0) as bigint) as downgraded_28d,
        cast(coalesce(windows.downgraded_90d, 0) as bigint) as downgraded_90d,
        cast(coalesce(windows.cancelled_7d, 0) as bigint) as cancelled_7d,
        cast(coalesce(windows.cancelled_28d, 0) as bigint) as cancelled_28d,
        cast(coalesce(windows.cancelled_90d, 0) as bigint) as cancelled_90d,
        cast(coalesce(windows.support_7d, 0) as bigint) as support_7d,
        cast(coalesce(windows.support_28d, 0) as bigint) as support_28d,
        cast(coalesce(windows.support_90d, 0) as bigint) as support_90d,
        cast(coalesce(windows.navigation_7d, 0) as bigint) as navigation_7d,
        cast(coalesce(windows.navigation_28d, 0) as bigint) as navigation_28d,
        cast(coalesce(windows.navigation_90d, 0) as bigint) as navigation_90d
    from user_rhythm
    inner join silence on user_rhythm.user_id = silence.user_id
    left join windows on user_rhythm.user_id = windows.user_id

)

select * from final
