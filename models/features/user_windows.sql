{{ config(
    materialized=in_place('incremental'),
    partition_by='active_days_90d',
    meta={'replaces': {
        'dirty': 'touched_user_windows',
        'condition': 'dirty.user_key = stored.user_key',
    }},
) }}

with fct_user_activity_daily as (

    select * from {{ ref('fct_user_activity_daily') }}

),

fct_feature_usage_daily as (

    select * from {{ ref('fct_feature_usage_daily') }}

),

user_rhythm as (

    select * from {{ ref('user_rhythm') }}

),

touched_user_windows as (

    select * from {{ ref('touched_user_windows') }}

),

-- A look at pricing is used up by a purchase on its day or later.
recent_days as (

    select
        fct_user_activity_daily.*,
        case
            when fct_user_activity_daily.activity_date <= {{ reporting_date('user_rhythm.last_purchase_at') }} then 0
            else fct_user_activity_daily.pricing_count
        end as open_pricing_count,
        case
            when fct_user_activity_daily.activity_date > {{ days_ago(1) }} then 1
            when fct_user_activity_daily.activity_date > {{ days_ago(7) }} then 7
            when fct_user_activity_daily.activity_date > {{ days_ago(28) }} then 28
            when fct_user_activity_daily.activity_date > {{ days_ago(56) }} then 56
            else 90
        end as period_days
    from fct_user_activity_daily
    inner join user_rhythm on fct_user_activity_daily.user_key = user_rhythm.user_key
    where
        fct_user_activity_daily.activity_date > {{ days_ago(90) }}
        and fct_user_activity_daily.activity_date <= {{ as_of_date() }}
        {%- if is_incremental() %}
        and fct_user_activity_daily.user_key in (select touched_user_windows.user_key from touched_user_windows)
        {%- endif %}

),

-- Every window is a sum of these periods, which are far fewer than days; each is called after its greatest age.
periods as (

    select
        recent_days.user_key,
        recent_days.period_days,
        max(recent_days.user_id) as user_id,
        count(*) as active_days,
        sum(recent_days.event_count) as event_count,
        sum(recent_days.session_count) as session_count,
        sum(recent_days.active_seconds) as active_seconds,
        sum(recent_days.failure_count) as failure_count,
        sum(recent_days.repeated_failure_count) as repeated_failure_count,
        sum(recent_days.activation_count) as activation_count,
        sum(recent_days.core_value_count) as core_value_count,
        sum(recent_days.collaboration_count) as collaboration_count,
        sum(recent_days.invite_count) as invite_count,
        sum(recent_days.pricing_count) as pricing_count,
        sum(recent_days.error_count) as error_count,
        sum(recent_days.setup_count) as setup_count,
        sum(recent_days.signed_up_count) as signed_up_count,
        sum(recent_days.trial_started_count) as trial_started_count,
        sum(recent_days.subscribed_count) as subscribed_count,
        sum(recent_days.upgraded_count) as upgraded_count,
        sum(recent_days.downgraded_count) as downgraded_count,
        sum(recent_days.cancelled_count) as cancelled_count,
        sum(recent_days.support_count) as support_count,
        sum(recent_days.navigation_count) as navigation_count,
        sum(recent_days.open_pricing_count) as open_pricing_count
    from recent_days
    group by recent_days.user_key, recent_days.period_days

),

windows as (

    select
        periods.user_key,
        max(periods.user_id) as user_id,
        sum(case when periods.period_days <= 7 then periods.active_days else 0 end) as active_days_7d,
        sum(case when periods.period_days <= 28 then periods.active_days else 0 end) as active_days_28d,
        sum(periods.active_days) as active_days_90d,
        sum(case when periods.period_days = 56 then periods.active_days else 0 end) as previous_active_days_28d,
        sum(case when periods.period_days <= 1 then periods.event_count else 0 end) as events_1d,
        sum(case when periods.period_days <= 7 then periods.event_count else 0 end) as events_7d,
        sum(case when periods.period_days <= 28 then periods.event_count else 0 end) as events_28d,
        sum(periods.event_count) as events_90d,
        sum(case when periods.period_days = 56 then periods.event_count else 0 end) as previous_events_28d,
        sum(case when periods.period_days <= 1 then periods.session_count else 0 end) as sessions_1d,
        sum(case when periods.period_days <= 7 then periods.session_count else 0 end) as sessions_7d,
        sum(case when periods.period_days <= 28 then periods.session_count else 0 end) as sessions_28d,
        sum(periods.session_count) as sessions_90d,
        sum(case when periods.period_days <= 1 then periods.active_seconds else 0 end) as active_seconds_1d,
        sum(case when periods.period_days <= 7 then periods.active_seconds else 0 end) as active_seconds_7d,
        sum(case when periods.period_days <= 28 then periods.active_seconds else 0 end) as active_seconds_28d,
        sum(periods.active_seconds) as active_seconds_90d,
        sum(case when periods.period_days <= 1 then periods.failure_count else 0 end) as failures_1d,
        sum(case when periods.period_days <= 7 then periods.failure_count else 0 end) as failures_7d,
        sum(case when periods.period_days <= 28 then periods.failure_count else 0 end) as failures_28d,
        sum(periods.failure_count) as failures_90d,
        sum(case when periods.period_days <= 7 then periods.repeated_failure_count else 0 end) as repeated_failures_7d,
        sum(case when periods.period_days <= 28 then periods.repeated_failure_count else 0 end) as repeated_failures_28d,
        sum(periods.repeated_failure_count) as repeated_failures_90d,
        sum(case when periods.period_days <= 1 then periods.activation_count else 0 end) as activation_1d,
        sum(case when periods.period_days <= 7 then periods.activation_count else 0 end) as activation_7d,
        sum(case when periods.period_days <= 28 then periods.activation_count else 0 end) as activation_28d,
        sum(periods.activation_count) as activation_90d,
        sum(case when periods.period_days <= 1 then periods.core_value_count else 0 end) as core_value_1d,
        sum(case when periods.period_days <= 7 then periods.core_value_count else 0 end) as core_value_7d,
        sum(case when periods.period_days <= 28 then periods.core_value_count else 0 end) as core_value_28d,
        sum(periods.core_value_count) as core_value_90d,
        sum(case when periods.period_days <= 1 then periods.collaboration_count else 0 end) as collaboration_1d,
        sum(case when periods.period_days <= 7 then periods.collaboration_count else 0 end) as collaboration_7d,
        sum(case when periods.period_days <= 28 then periods.collaboration_count else 0 end) as collaboration_28d,
        sum(periods.collaboration_count) as collaboration_90d,
        sum(case when periods.period_days <= 1 then periods.invite_count else 0 end) as invite_1d,
        sum(case when periods.period_days <= 7 then periods.invite_count else 0 end) as invite_7d,
        sum(case when periods.period_days <= 28 then periods.invite_count else 0 end) as invite_28d,
        sum(periods.invite_count) as invite_90d,
        sum(case when periods.period_days <= 1 then periods.pricing_count else 0 end) as pricing_1d,
        sum(case when periods.period_days <= 7 then periods.pricing_count else 0 end) as pricing_7d,
        sum(case when periods.period_days <= 28 then periods.pricing_count else 0 end) as pricing_28d,
        sum(periods.pricing_count) as pricing_90d,
        sum(case when periods.period_days <= 1 then periods.error_count else 0 end) as error_1d,
        sum(case when periods.period_days <= 7 then periods.error_count else 0 end) as error_7d,
        sum(case when periods.period_days <= 28 then periods.error_count else 0 end) as error_28d,
        sum(periods.error_count) as error_90d,
        sum(case when periods.period_days <= 1 then periods.setup_count else 0 end) as setup_1d,
        sum(case when periods.period_days <= 7 then periods.setup_count else 0 end) as setup_7d,
        sum(case when periods.period_days <= 28 then periods.setup_count else 0 end) as setup_28d,
        sum(periods.setup_count) as setup_90d,
        sum(case when periods.period_days <= 1 then periods.signed_up_count else 0 end) as signed_up_1d,
        sum(case when periods.period_days <= 7 then periods.signed_up_count else 0 end) as signed_up_7d,
        sum(case when periods.period_days <= 28 then periods.signed_up_count else 0 end) as signed_up_28d,
        sum(periods.signed_up_count) as signed_up_90d,
        sum(case when periods.period_days <= 1 then periods.trial_started_count else 0 end) as trial_started_1d,
        sum(case when periods.period_days <= 7 then periods.trial_started_count else 0 end) as trial_started_7d,
        sum(case when periods.period_days <= 28 then periods.trial_started_count else 0 end) as trial_started_28d,
        sum(periods.trial_started_count) as trial_started_90d,
        sum(case when periods.period_days <= 1 then periods.subscribed_count else 0 end) as subscribed_1d,
        sum(case when periods.period_days <= 7 then periods.subscribed_count else 0 end) as subscribed_7d,
        sum(case when periods.period_days <= 28 then periods.subscribed_count else 0 end) as subscribed_28d,
        sum(periods.subscribed_count) as subscribed_90d,
        sum(case when periods.period_days <= 1 then periods.upgraded_count else 0 end) as upgraded_1d,
        sum(case when periods.period_days <= 7 then periods.upgraded_count else 0 end) as upgraded_7d,
        sum(case when periods.period_days <= 28 then periods.upgraded_count else 0 end) as upgraded_28d,
        sum(periods.upgraded_count) as upgraded_90d,
        sum(case when periods.period_days <= 1 then periods.downgraded_count else 0 end) as downgraded_1d,
        sum(case when periods.period_days <= 7 then periods.downgraded_count else 0 end) as downgraded_7d,
        sum(case when periods.period_days <= 28 then periods.downgraded_count else 0 end) as downgraded_28d,
        sum(periods.downgraded_count) as downgraded_90d,
        sum(case when periods.period_days <= 1 then periods.cancelled_count else 0 end) as cancelled_1d,
        sum(case when periods.period_days <= 7 then periods.cancelled_count else 0 end) as cancelled_7d,
        sum(case when periods.period_days <= 28 then periods.cancelled_count else 0 end) as cancelled_28d,
        sum(periods.cancelled_count) as cancelled_90d,
        sum(case when periods.period_days <= 1 then periods.support_count else 0 end) as support_1d,
        sum(case when periods.period_days <= 7 then periods.support_count else 0 end) as support_7d,
        sum(case when periods.period_days <= 28 then periods.support_count else 0 end) as support_28d,
        sum(periods.support_count) as support_90d,
        sum(case when periods.period_days <= 1 then periods.navigation_count else 0 end) as navigation_1d,
        sum(case when periods.period_days <= 7 then periods.navigation_count else 0 end) as navigation_7d,
        sum(case when periods.period_days <= 28 then periods.navigation_count else 0 end) as navigation_28d,
        sum(periods.navigation_count) as navigation_90d,
        sum(case when periods.period_days <= 28 then periods.open_pricing_count else 0 end) as pricing_since_purchase_28d
    from periods
    group by periods.user_key

),

used as (

    select
        fct_feature_usage_daily.user_key,
        count(distinct fct_feature_usage_daily.feature) as features_28d
    from fct_feature_usage_daily
    where
        fct_feature_usage_daily.activity_date > {{ days_ago(28) }}
        and fct_feature_usage_daily.activity_date <= {{ as_of_date() }}
        {%- if is_incremental() %}
        and fct_feature_usage_daily.user_key in (select touched_user_windows.user_key from touched_user_windows)
        {%- endif %}
    group by fct_feature_usage_daily.user_key

),

rebuilt as (

    select
        windows.*,
        coalesce(used.features_28d, 0) as features_28d
    from windows
    left join used on windows.user_key = used.user_key

),

final as (

    select
        cast(rebuilt.user_key as bigint) as user_key,
        cast(rebuilt.user_id as string) as user_id,
        cast(rebuilt.active_days_7d as bigint) as active_days_7d,
        cast(rebuilt.active_days_28d as bigint) as active_days_28d,
        cast(rebuilt.active_days_90d as bigint) as active_days_90d,
        cast(rebuilt.previous_active_days_28d as bigint) as previous_active_days_28d,
        cast(rebuilt.events_1d as bigint) as events_1d,
        cast(rebuilt.events_7d as bigint) as events_7d,
        cast(rebuilt.events_28d as bigint) as events_28d,
        cast(rebuilt.events_90d as bigint) as events_90d,
        cast(rebuilt.previous_events_28d as bigint) as previous_events_28d,
        cast(rebuilt.sessions_1d as bigint) as sessions_1d,
        cast(rebuilt.sessions_7d as bigint) as sessions_7d,
        cast(rebuilt.sessions_28d as bigint) as sessions_28d,
        cast(rebuilt.sessions_90d as bigint) as sessions_90d,
        cast(rebuilt.active_seconds_1d as bigint) as active_seconds_1d,
        cast(rebuilt.active_seconds_7d as bigint) as active_seconds_7d,
        cast(rebuilt.active_seconds_28d as bigint) as active_seconds_28d,
        cast(rebuilt.active_seconds_90d as bigint) as active_seconds_90d,
        cast(rebuilt.failures_1d as bigint) as failures_1d,
        cast(rebuilt.failures_7d as bigint) as failures_7d,
        cast(rebuilt.failures_28d as bigint) as failures_28d,
        cast(rebuilt.failures_90d as bigint) as failures_90d,
        cast(rebuilt.repeated_failures_7d as bigint) as repeated_failures_7d,
        cast(rebuilt.repeated_failures_28d as bigint) as repeated_failures_28d,
        cast(rebuilt.repeated_failures_90d as bigint) as repeated_failures_90d,
        cast(rebuilt.activation_1d as bigint) as activation_1d,
        cast(rebuilt.activation_7d as bigint) as activation_7d,
        cast(rebuilt.activation_28d as bigint) as activation_28d,
        cast(rebuilt.activation_90d as bigint) as activation_90d,
        cast(rebuilt.core_value_1d as bigint) as core_value_1d,
        cast(rebuilt.core_value_7d as bigint) as core_value_7d,
        cast(rebuilt.core_value_28d as bigint) as core_value_28d,
        cast(rebuilt.core_value_90d as bigint) as core_value_90d,
        cast(rebuilt.collaboration_1d as bigint) as collaboration_1d,
        cast(rebuilt.collaboration_7d as bigint) as collaboration_7d,
        cast(rebuilt.collaboration_28d as bigint) as collaboration_28d,
        cast(rebuilt.collaboration_90d as bigint) as collaboration_90d,
        cast(rebuilt.invite_1d as bigint) as invite_1d,
        cast(rebuilt.invite_7d as bigint) as invite_7d,
        cast(rebuilt.invite_28d as bigint) as invite_28d,
        cast(rebuilt.invite_90d as bigint) as invite_90d,
        cast(rebuilt.pricing_1d as bigint) as pricing_1d,
        cast(rebuilt.pricing_7d as bigint) as pricing_7d,
        cast(rebuilt.pricing_28d as bigint) as pricing_28d,
        cast(rebuilt.pricing_90d as bigint) as pricing_90d,
        cast(rebuilt.error_1d as bigint) as error_1d,
        cast(rebuilt.error_7d as bigint) as error_7d,
        cast(rebuilt.error_28d as bigint) as error_28d,
        cast(rebuilt.error_90d as bigint) as error_90d,
        cast(rebuilt.setup_1d as bigint) as setup_1d,
        cast(rebuilt.setup_7d as bigint) as setup_7d,
        cast(rebuilt.setup_28d as bigint) as setup_28d,
        cast(rebuilt.setup_90d as bigint) as setup_90d,
        cast(rebuilt.signed_up_1d as bigint) as signed_up_1d,
        cast(rebuilt.signed_up_7d as bigint) as signed_up_7d,
        cast(rebuilt.signed_up_28d as bigint) as signed_up_28d,
        cast(rebuilt.signed_up_90d as bigint) as signed_up_90d,
        cast(rebuilt.trial_started_1d as bigint) as trial_started_1d,
        cast(rebuilt.trial_started_7d as bigint) as trial_started_7d,
        cast(rebuilt.trial_started_28d as bigint) as trial_started_28d,
        cast(rebuilt.trial_started_90d as bigint) as trial_started_90d,
        cast(rebuilt.subscribed_1d as bigint) as subscribed_1d,
        cast(rebuilt.subscribed_7d as bigint) as subscribed_7d,
        cast(rebuilt.subscribed_28d as bigint) as subscribed_28d,
        cast(rebuilt.subscribed_90d as bigint) as subscribed_90d,
        cast(rebuilt.upgraded_1d as bigint) as upgraded_1d,
        cast(rebuilt.upgraded_7d as bigint) as upgraded_7d,
        cast(rebuilt.upgraded_28d as bigint) as upgraded_28d,
        cast(rebuilt.upgraded_90d as bigint) as upgraded_90d,
        cast(rebuilt.downgraded_1d as bigint) as downgraded_1d,
        cast(rebuilt.downgraded_7d as bigint) as downgraded_7d,
        cast(rebuilt.downgraded_28d as bigint) as downgraded_28d,
        cast(rebuilt.downgraded_90d as bigint) as downgraded_90d,
        cast(rebuilt.cancelled_1d as bigint) as cancelled_1d,
        cast(rebuilt.cancelled_7d as bigint) as cancelled_7d,
        cast(rebuilt.cancelled_28d as bigint) as cancelled_28d,
        cast(rebuilt.cancelled_90d as bigint) as cancelled_90d,
        cast(rebuilt.support_1d as bigint) as support_1d,
        cast(rebuilt.support_7d as bigint) as support_7d,
        cast(rebuilt.support_28d as bigint) as support_28d,
        cast(rebuilt.support_90d as bigint) as support_90d,
        cast(rebuilt.navigation_1d as bigint) as navigation_1d,
        cast(rebuilt.navigation_7d as bigint) as navigation_7d,
        cast(rebuilt.navigation_28d as bigint) as navigation_28d,
        cast(rebuilt.navigation_90d as bigint) as navigation_90d,
        cast(rebuilt.pricing_since_purchase_28d as bigint) as pricing_since_purchase_28d,
        cast(rebuilt.features_28d as bigint) as features_28d
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('touched_user_windows')) }}

)

select * from written
