{{ config(
    materialized=in_place('incremental'),
    partition_by='activity_date',
    meta={'replaces': {
        'dirty': 'touched_account_days',
        'condition': 'dirty.account_id = stored.account_id and stored.activity_date = dirty.activity_date',
    }},
) }}
-- depends_on: {{ ref('touched_account_days') }}

with fct_user_account_activity_daily as (

    {{ rows_of_touched_accounts(ref('fct_user_account_activity_daily'), 'activity_date') }}

),

fct_feature_usage_daily as (

    {{ rows_of_touched_accounts(ref('fct_feature_usage_daily'), 'activity_date') }}

),

fct_step_activity_daily as (

    {{ rows_of_touched_accounts(ref('fct_step_activity_daily'), 'activity_date') }}

),

fct_sessions as (

    {{ rows_of_touched_accounts(ref('fct_sessions'), 'session_date', back=session_days() | int) }}

),

days as (

    select
        fct_user_account_activity_daily.account_id,
        fct_user_account_activity_daily.activity_date,
        count(distinct fct_user_account_activity_daily.user_key) as active_users,
        sum(fct_user_account_activity_daily.event_count) as event_count,
        sum(fct_user_account_activity_daily.identified_event_count) as identified_event_count,
        sum(fct_user_account_activity_daily.failure_count) as failure_count,
        sum(fct_user_account_activity_daily.activation_count) as activation_count,
        sum(fct_user_account_activity_daily.core_value_count) as core_value_count,
        sum(fct_user_account_activity_daily.collaboration_count) as collaboration_count,
        sum(fct_user_account_activity_daily.invite_count) as invite_count,
        sum(fct_user_account_activity_daily.pricing_count) as pricing_count,
        sum(fct_user_account_activity_daily.error_count) as error_count,
        sum(fct_user_account_activity_daily.setup_count) as setup_count,
        sum(fct_user_account_activity_daily.signed_up_count) as signed_up_count,
        sum(fct_user_account_activity_daily.trial_started_count) as trial_started_count,
        sum(fct_user_account_activity_daily.subscribed_count) as subscribed_count,
        sum(fct_user_account_activity_daily.upgraded_count) as upgraded_count,
        sum(fct_user_account_activity_daily.downgraded_count) as downgraded_count,
        sum(fct_user_account_activity_daily.cancelled_count) as cancelled_count,
        sum(fct_user_account_activity_daily.support_count) as support_count,
        sum(fct_user_account_activity_daily.navigation_count) as navigation_count,
        min(fct_user_account_activity_daily.first_event_at) as first_event_at,
        max(fct_user_account_activity_daily.last_event_at) as last_event_at,
        min(fct_user_account_activity_daily.first_core_value_at) as first_core_value_at,
        max(fct_user_account_activity_daily.last_pricing_at) as last_pricing_at,
        max(fct_user_account_activity_daily.last_purchase_at) as last_purchase_at,
        max(fct_user_account_activity_daily.last_trial_started_at) as last_trial_started_at,
        max(fct_user_account_activity_daily.last_cancelled_at) as last_cancelled_at
    from fct_user_account_activity_daily
    where fct_user_account_activity_daily.account_id != ''
    group by fct_user_account_activity_daily.account_id, fct_user_account_activity_daily.activity_date

),

-- A session counts on the day on which it began, its seconds on the days on which they were spent.
member_sessions as (

    {{ active_time('fct_sessions', ['account_id', 'user_key']) }}

),

sessions as (

    select
        member_sessions.account_id,
        member_sessions.activity_date,
        sum(member_sessions.session_count) as session_count,
        sum(member_sessions.active_seconds) as active_seconds
    from member_sessions
    where member_sessions.account_id is not null
    group by member_sessions.account_id, member_sessions.activity_date

),

used as (

    select
        fct_feature_usage_daily.account_id,
        fct_feature_usage_daily.activity_date,
        count(distinct fct_feature_usage_daily.feature) as feature_count
    from fct_feature_usage_daily
    where fct_feature_usage_daily.account_id != ''
    group by fct_feature_usage_daily.account_id, fct_feature_usage_daily.activity_date

),

failed_steps as (

    select
        fct_step_activity_daily.account_id,
        fct_step_activity_daily.activity_date,
        fct_step_activity_daily.step,
        greatest(sum(fct_step_activity_daily.failure_count) - 1, 0) as repeated_failure_count
    from fct_step_activity_daily
    where fct_step_activity_daily.account_id != ''
    group by fct_step_activity_daily.account_id, fct_step_activity_daily.activity_date, fct_step_activity_daily.step

),

failed as (

    select
        failed_steps.account_id,
        failed_steps.activity_date,
        sum(failed_steps.repeated_failure_count) as repeated_failure_count
    from failed_steps
    group by failed_steps.account_id, failed_steps.activity_date

),

rebuilt as (

    select
        days.*,
        coalesce(sessions.session_count, 0) as session_count,
        coalesce(sessions.active_seconds, 0) as active_seconds,
        coalesce(used.feature_count, 0) as feature_count,
        coalesce(failed.repeated_failure_count, 0) as repeated_failure_count
    from days
    left join sessions
        on
            days.account_id = sessions.account_id
            and days.activity_date = sessions.activity_date
    left join used
        on
            days.account_id = used.account_id
            and days.activity_date = used.activity_date
    left join failed
        on
            days.account_id = failed.account_id
            and days.activity_date = failed.activity_date

),

final as (

    select
        cast(rebuilt.account_id as string) as account_id,
        cast(rebuilt.activity_date as date) as activity_date,
        cast(rebuilt.active_users as bigint) as active_users,
        cast(rebuilt.event_count as bigint) as event_count,
        cast(rebuilt.session_count as bigint) as session_count,
        cast(rebuilt.active_seconds as bigint) as active_seconds,
        cast(rebuilt.feature_count as bigint) as feature_count,
        cast(rebuilt.identified_event_count as bigint) as identified_event_count,
        cast(rebuilt.failure_count as bigint) as failure_count,
        cast(rebuilt.repeated_failure_count as bigint) as repeated_failure_count,
        cast(rebuilt.activation_count as bigint) as activation_count,
        cast(rebuilt.core_value_count as bigint) as core_value_count,
        cast(rebuilt.collaboration_count as bigint) as collaboration_count,
        cast(rebuilt.invite_count as bigint) as invite_count,
        cast(rebuilt.pricing_count as bigint) as pricing_count,
        cast(rebuilt.error_count as bigint) as error_count,
        cast(rebuilt.setup_count as bigint) as setup_count,
        cast(rebuilt.signed_up_count as bigint) as signed_up_count,
        cast(rebuilt.trial_started_count as bigint) as trial_started_count,
        cast(rebuilt.subscribed_count as bigint) as subscribed_count,
        cast(rebuilt.upgraded_count as bigint) as upgraded_count,
        cast(rebuilt.downgraded_count as bigint) as downgraded_count,
        cast(rebuilt.cancelled_count as bigint) as cancelled_count,
        cast(rebuilt.support_count as bigint) as support_count,
        cast(rebuilt.navigation_count as bigint) as navigation_count,
        cast(rebuilt.first_event_at as timestamp) as first_event_at,
        cast(rebuilt.last_event_at as timestamp) as last_event_at,
        cast(rebuilt.first_core_value_at as timestamp) as first_core_value_at,
        cast(rebuilt.last_pricing_at as timestamp) as last_pricing_at,
        cast(rebuilt.last_purchase_at as timestamp) as last_purchase_at,
        cast(rebuilt.last_trial_started_at as timestamp) as last_trial_started_at,
        cast(rebuilt.last_cancelled_at as timestamp) as last_cancelled_at
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('touched_account_days')) }}

)

select * from written
