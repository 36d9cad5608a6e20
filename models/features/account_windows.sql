{{ config(
    materialized=in_place('incremental'),
    partition_by='active_days_90d',
    meta={'replaces': {
        'dirty': 'touched_account_windows',
        'condition': 'dirty.account_id = stored.account_id',
    }},
) }}

with fct_account_activity_daily as (

    select * from {{ ref('fct_account_activity_daily') }}

),

fct_user_account_activity_daily as (

    select * from {{ ref('fct_user_account_activity_daily') }}

),

fct_feature_usage_daily as (

    select * from {{ ref('fct_feature_usage_daily') }}

),

touched_account_windows as (

    select * from {{ ref('touched_account_windows') }}

),

recent_days as (

    select
        fct_account_activity_daily.*,
        case
            when fct_account_activity_daily.activity_date > {{ days_ago(1) }} then 1
            when fct_account_activity_daily.activity_date > {{ days_ago(7) }} then 7
            when fct_account_activity_daily.activity_date > {{ days_ago(28) }} then 28
            when fct_account_activity_daily.activity_date > {{ days_ago(56) }} then 56
            else 90
        end as period_days
    from fct_account_activity_daily
    where
        fct_account_activity_daily.activity_date > {{ days_ago(90) }}
        and fct_account_activity_daily.activity_date <= {{ as_of_date() }}
        {%- if is_incremental() %}
        and fct_account_activity_daily.account_id in (select touched_account_windows.account_id from touched_account_windows)
        {%- endif %}

),

-- Every window is a sum of these periods, which are far fewer than days; each is called after its greatest age.
periods as (

    select
        recent_days.account_id,
        recent_days.period_days,
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
        sum(recent_days.navigation_count) as navigation_count
    from recent_days
    group by recent_days.account_id, recent_days.period_days

),

windows as (

    select
        periods.account_id,
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
        sum(periods.navigation_count) as navigation_90d
    from periods
    group by periods.account_id

),

-- Breadth: how many people the activity stands on.
member_days as (

    select
        fct_user_account_activity_daily.account_id,
        fct_user_account_activity_daily.user_key,
        max(fct_user_account_activity_daily.activity_date) as last_active_date,
        max(
            case
                when
                    fct_user_account_activity_daily.activity_date <= {{ days_ago(28) }}
                    and fct_user_account_activity_daily.activity_date > {{ days_ago(56) }}
                    then 1
                else 0
            end
        ) as was_active_before
    from fct_user_account_activity_daily
    where
        fct_user_account_activity_daily.account_id != ''
        and fct_user_account_activity_daily.activity_date > {{ days_ago(90) }}
        and fct_user_account_activity_daily.activity_date <= {{ as_of_date() }}
        {%- if is_incremental() %}
        and fct_user_account_activity_daily.account_id in (
            select touched_account_windows.account_id from touched_account_windows
        )
        {%- endif %}
    group by fct_user_account_activity_daily.account_id, fct_user_account_activity_daily.user_key

),

breadth as (

    select
        member_days.account_id,
        sum(case when member_days.last_active_date > {{ days_ago(1) }} then 1 else 0 end) as active_users_1d,
        sum(case when member_days.last_active_date > {{ days_ago(7) }} then 1 else 0 end) as active_users_7d,
        sum(case when member_days.last_active_date > {{ days_ago(28) }} then 1 else 0 end) as active_users_28d,
        count(*) as active_users_90d,
        sum(member_days.was_active_before) as previous_active_users_28d
    from member_days
    group by member_days.account_id

),

feature_use as (

    select
        fct_feature_usage_daily.account_id,
        fct_feature_usage_daily.feature,
        sum(fct_feature_usage_daily.event_count) as event_count
    from fct_feature_usage_daily
    where
        fct_feature_usage_daily.account_id != ''
        and fct_feature_usage_daily.activity_date > {{ days_ago(28) }}
        and fct_feature_usage_daily.activity_date <= {{ as_of_date() }}
        {%- if is_incremental() %}
        and fct_feature_usage_daily.account_id in (
            select touched_account_windows.account_id from touched_account_windows
        )
        {%- endif %}
    group by fct_feature_usage_daily.account_id, fct_feature_usage_daily.feature

),

used as (

    select
        feature_use.account_id,
        count(*) as features_28d,
        max(feature_use.event_count) as top_feature_events_28d,
        sum(feature_use.event_count) as feature_events_28d
    from feature_use
    group by feature_use.account_id

),

rebuilt as (

    select
        windows.*,
        breadth.active_users_1d,
        breadth.active_users_7d,
        breadth.active_users_28d,
        breadth.active_users_90d,
        breadth.previous_active_users_28d,
        coalesce(used.features_28d, 0) as features_28d,
        coalesce(used.top_feature_events_28d, 0) as top_feature_events_28d,
        coalesce(used.feature_events_28d, 0) as feature_events_28d
    from windows
    inner join breadth on windows.account_id = breadth.account_id
    left join used on windows.account_id = used.account_id

),

final as (

    select
        cast(rebuilt.account_id as string) as account_id,
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
        cast(rebuilt.active_users_1d as bigint) as active_users_1d,
        cast(rebuilt.active_users_7d as bigint) as active_users_7d,
        cast(rebuilt.active_users_28d as bigint) as active_users_28d,
        cast(rebuilt.active_users_90d as bigint) as active_users_90d,
        cast(rebuilt.previous_active_users_28d as bigint) as previous_active_users_28d,
        cast(rebuilt.features_28d as bigint) as features_28d,
        cast(rebuilt.top_feature_events_28d as bigint) as top_feature_events_28d,
        cast(rebuilt.feature_events_28d as bigint) as feature_events_28d
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('touched_account_windows')) }}

)

select * from written
