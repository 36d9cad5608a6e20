{{ config(materialized=in_place('view')) }}

with dim_accounts as (

    select * from {{ ref('dim_accounts') }}

),

account_rhythm as (

    select * from {{ ref('account_rhythm') }}

),

account_windows as (

    select * from {{ ref('account_windows') }}

),

memberships as (

    select * from {{ ref('memberships') }}

),

account_standing as (

    select * from {{ ref('account_standing') }}

),

account_champions as (

    select * from {{ ref('account_champions') }}

),

account_failing_steps as (

    select * from {{ ref('account_failing_steps') }}

),

user_rhythm as (

    select * from {{ ref('user_rhythm') }}

),

members as (

    select
        memberships.account_id,
        count(*) as member_count
    from memberships
    inner join user_rhythm on memberships.user_key = user_rhythm.user_key
    where
        not user_rhythm.is_anonymous
        and memberships.valid_from < {{ as_of() }}
        and (memberships.valid_to is null or memberships.valid_to >= {{ as_of() }})
    group by memberships.account_id

),

final as (

    select
        cast(dim_accounts.account_id as string) as account_id,
        cast({{ as_of() }} as timestamp) as as_of,
        cast(account_rhythm.first_active_date as date) as first_active_date,
        cast(account_rhythm.last_active_date as date) as last_active_date,
        cast(account_standing.started_date as date) as started_date,
        cast(account_rhythm.first_core_value_at as timestamp) as first_core_value_at,
        cast(account_rhythm.last_pricing_at as timestamp) as last_pricing_at,
        cast(account_rhythm.last_purchase_at as timestamp) as last_purchase_at,
        cast(account_rhythm.signed_up_date as date) as signed_up_date,
        cast(account_rhythm.trial_started_date as date) as trial_started_date,
        cast(account_rhythm.cancelled_date as date) as cancelled_date,
        cast(account_rhythm.seconds_to_first_value as bigint) as seconds_to_first_value,
        cast(account_rhythm.gap_count as bigint) as gap_count,
        cast(account_rhythm.median_gap_days as double) as median_gap_days,
        cast(account_rhythm.long_gap_days as double) as long_gap_days,
        cast(account_rhythm.current_streak_days as bigint) as current_streak_days,
        cast(account_rhythm.longest_streak_days as bigint) as longest_streak_days,
        cast(account_rhythm.active_days_before_silence as bigint) as active_days_before_silence,
        cast({{ dbt.datediff('account_rhythm.last_active_date', as_of_date(), 'day') }} as bigint) as silent_days,
        cast({{ dbt.datediff('account_rhythm.first_active_date', as_of_date(), 'day') }} as bigint) as days_since_first_active,
        cast({{ dbt.datediff('account_standing.started_date', as_of_date(), 'day') }} as bigint) as days_since_start,
        cast({{ dbt.datediff('account_rhythm.trial_started_date', as_of_date(), 'day') }} as bigint) as days_since_trial_start,
        cast({{ dbt.datediff(reporting_date('account_rhythm.last_pricing_at'), as_of_date(), 'day') }} as bigint)
            as days_since_pricing,
        cast(account_rhythm.trial_started_date is not null as boolean) as has_started_trial,
        cast(account_rhythm.last_purchase_at is not null as boolean) as has_subscribed,
        cast(account_champions.champion_percent as bigint) as champion_percent,
        cast(account_champions.champion_silent_days as bigint) as champion_silent_days,
        cast(account_champions.champion_has_left as boolean) as champion_has_left,
        cast(account_champions.champion_usual_gap_days as double) as champion_usual_gap_days,
        cast(account_champions.active_others as bigint) as active_others,
        cast(account_failing_steps.failing_setup_step as string) as failing_setup_step,
        cast(coalesce(account_failing_steps.failing_setup_members, 0) as bigint) as failing_setup_members,
        cast(coalesce(account_failing_steps.failing_setup_failures_7d, 0) as bigint) as failing_setup_failures_7d,
        cast(coalesce(members.member_count, 0) as bigint) as member_count,
        cast(account_standing.plan as string) as plan,
        cast(account_standing.seat_limit as bigint) as seat_limit,
        cast(account_standing.has_higher_plan as boolean) as has_higher_plan,
        cast(account_standing.is_cancelled as boolean) as is_cancelled,
        cast(account_standing.trial_end_at as timestamp) as trial_end_at,
        cast(account_standing.is_in_trial as boolean) as is_in_trial,
        cast({{ rounded('coalesce(members.member_count, 0) / nullif(account_standing.seat_limit, 0)', 3) }} as double) as seat_share,
        cast(coalesce(account_windows.active_users_1d, 0) as bigint) as active_users_1d,
        cast(coalesce(account_windows.active_users_7d, 0) as bigint) as active_users_7d,
        cast(coalesce(account_windows.active_users_28d, 0) as bigint) as active_users_28d,
        cast(coalesce(account_windows.active_users_90d, 0) as bigint) as active_users_90d,
        cast(coalesce(account_windows.previous_active_users_28d, 0) as bigint) as previous_active_users_28d,
        cast(coalesce(account_windows.features_28d, 0) as bigint) as features_28d,
        cast(coalesce(account_windows.top_feature_events_28d, 0) as bigint) as top_feature_events_28d,
        cast(coalesce(account_windows.feature_events_28d, 0) as bigint) as feature_events_28d,
        cast(coalesce(account_windows.active_days_7d, 0) as bigint) as active_days_7d,
        cast(coalesce(account_windows.active_days_28d, 0) as bigint) as active_days_28d,
        cast(coalesce(account_windows.active_days_90d, 0) as bigint) as active_days_90d,
        cast(coalesce(account_windows.previous_active_days_28d, 0) as bigint) as previous_active_days_28d,
        cast(coalesce(account_windows.events_1d, 0) as bigint) as events_1d,
        cast(coalesce(account_windows.events_7d, 0) as bigint) as events_7d,
        cast(coalesce(account_windows.events_28d, 0) as bigint) as events_28d,
        cast(coalesce(account_windows.events_90d, 0) as bigint) as events_90d,
        cast(coalesce(account_windows.previous_events_28d, 0) as bigint) as previous_events_28d,
        cast(coalesce(account_windows.sessions_1d, 0) as bigint) as sessions_1d,
        cast(coalesce(account_windows.sessions_7d, 0) as bigint) as sessions_7d,
        cast(coalesce(account_windows.sessions_28d, 0) as bigint) as sessions_28d,
        cast(coalesce(account_windows.sessions_90d, 0) as bigint) as sessions_90d,
        cast(coalesce(account_windows.active_seconds_1d, 0) as bigint) as active_seconds_1d,
        cast(coalesce(account_windows.active_seconds_7d, 0) as bigint) as active_seconds_7d,
        cast(coalesce(account_windows.active_seconds_28d, 0) as bigint) as active_seconds_28d,
        cast(coalesce(account_windows.active_seconds_90d, 0) as bigint) as active_seconds_90d,
        cast(coalesce(account_windows.failures_1d, 0) as bigint) as failures_1d,
        cast(coalesce(account_windows.failures_7d, 0) as bigint) as failures_7d,
        cast(coalesce(account_windows.failures_28d, 0) as bigint) as failures_28d,
        cast(coalesce(account_windows.failures_90d, 0) as bigint) as failures_90d,
        cast(coalesce(account_windows.repeated_failures_7d, 0) as bigint) as repeated_failures_7d,
        cast(coalesce(account_windows.repeated_failures_28d, 0) as bigint) as repeated_failures_28d,
        cast(coalesce(account_windows.repeated_failures_90d, 0) as bigint) as repeated_failures_90d,
        cast(coalesce(account_windows.activation_1d, 0) as bigint) as activation_1d,
        cast(coalesce(account_windows.activation_7d, 0) as bigint) as activation_7d,
        cast(coalesce(account_windows.activation_28d, 0) as bigint) as activation_28d,
        cast(coalesce(account_windows.activation_90d, 0) as bigint) as activation_90d,
        cast(coalesce(account_windows.core_value_1d, 0) as bigint) as core_value_1d,
        cast(coalesce(account_windows.core_value_7d, 0) as bigint) as core_value_7d,
        cast(coalesce(account_windows.core_value_28d, 0) as bigint) as core_value_28d,
        cast(coalesce(account_windows.core_value_90d, 0) as bigint) as core_value_90d,
        cast(coalesce(account_windows.collaboration_1d, 0) as bigint) as collaboration_1d,
        cast(coalesce(account_windows.collaboration_7d, 0) as bigint) as collaboration_7d,
        cast(coalesce(account_windows.collaboration_28d, 0) as bigint) as collaboration_28d,
        cast(coalesce(account_windows.collaboration_90d, 0) as bigint) as collaboration_90d,
        cast(coalesce(account_windows.invite_1d, 0) as bigint) as invite_1d,
        cast(coalesce(account_windows.invite_7d, 0) as bigint) as invite_7d,
        cast(coalesce(account_windows.invite_28d, 0) as bigint) as invite_28d,
        cast(coalesce(account_windows.invite_90d, 0) as bigint) as invite_90d,
        cast(coalesce(account_windows.pricing_1d, 0) as bigint) as pricing_1d,
        cast(coalesce(account_windows.pricing_7d, 0) as bigint) as pricing_7d,
        cast(coalesce(account_windows.pricing_28d, 0) as bigint) as pricing_28d,
        cast(coalesce(account_windows.pricing_90d, 0) as bigint) as pricing_90d,
        cast(coalesce(account_windows.error_1d, 0) as bigint) as error_1d,
        cast(coalesce(account_windows.error_7d, 0) as bigint) as error_7d,
        cast(coalesce(account_windows.error_28d, 0) as bigint) as error_28d,
        cast(coalesce(account_windows.error_90d, 0) as bigint) as error_90d,
        cast(coalesce(account_windows.setup_1d, 0) as bigint) as setup_1d,
        cast(coalesce(account_windows.setup_7d, 0) as bigint) as setup_7d,
        cast(coalesce(account_windows.setup_28d, 0) as bigint) as setup_28d,
        cast(coalesce(account_windows.setup_90d, 0) as bigint) as setup_90d,
        cast(coalesce(account_windows.signed_up_1d, 0) as bigint) as signed_up_1d,
        cast(coalesce(account_windows.signed_up_7d, 0) as bigint) as signed_up_7d,
        cast(coalesce(account_windows.signed_up_28d, 0) as bigint) as signed_up_28d,
        cast(coalesce(account_windows.signed_up_90d, 0) as bigint) as signed_up_90d,
        cast(coalesce(account_windows.trial_started_1d, 0) as bigint) as trial_started_1d,
        cast(coalesce(account_windows.trial_started_7d, 0) as bigint) as trial_started_7d,
        cast(coalesce(account_windows.trial_started_28d, 0) as bigint) as trial_started_28d,
        cast(coalesce(account_windows.trial_started_90d, 0) as bigint) as trial_started_90d,
        cast(coalesce(account_windows.subscribed_1d, 0) as bigint) as subscribed_1d,
        cast(coalesce(account_windows.subscribed_7d, 0) as bigint) as subscribed_7d,
        cast(coalesce(account_windows.subscribed_28d, 0) as bigint) as subscribed_28d,
        cast(coalesce(account_windows.subscribed_90d, 0) as bigint) as subscribed_90d,
        cast(coalesce(account_windows.upgraded_1d, 0) as bigint) as upgraded_1d,
        cast(coalesce(account_windows.upgraded_7d, 0) as bigint) as upgraded_7d,
        cast(coalesce(account_windows.upgraded_28d, 0) as bigint) as upgraded_28d,
        cast(coalesce(account_windows.upgraded_90d, 0) as bigint) as upgraded_90d,
        cast(coalesce(account_windows.downgraded_1d, 0) as bigint) as downgraded_1d,
        cast(coalesce(account_windows.downgraded_7d, 0) as bigint) as downgraded_7d,
        cast(coalesce(account_windows.downgraded_28d, 0) as bigint) as downgraded_28d,
        cast(coalesce(account_windows.downgraded_90d, 0) as bigint) as downgraded_90d,
        cast(coalesce(account_windows.cancelled_1d, 0) as bigint) as cancelled_1d,
        cast(coalesce(account_windows.cancelled_7d, 0) as bigint) as cancelled_7d,
        cast(coalesce(account_windows.cancelled_28d, 0) as bigint) as cancelled_28d,
        cast(coalesce(account_windows.cancelled_90d, 0) as bigint) as cancelled_90d,
        cast(coalesce(account_windows.support_1d, 0) as bigint) as support_1d,
        cast(coalesce(account_windows.support_7d, 0) as bigint) as support_7d,
        cast(coalesce(account_windows.support_28d, 0) as bigint) as support_28d,
        cast(coalesce(account_windows.support_90d, 0) as bigint) as support_90d,
        cast(coalesce(account_windows.navigation_1d, 0) as bigint) as navigation_1d,
        cast(coalesce(account_windows.navigation_7d, 0) as bigint) as navigation_7d,
        cast(coalesce(account_windows.navigation_28d, 0) as bigint) as navigation_28d,
        cast(coalesce(account_windows.navigation_90d, 0) as bigint) as navigation_90d,
        cast(
            coalesce(account_windows.active_days_28d, 0) - coalesce(account_windows.previous_active_days_28d, 0) as bigint
        ) as active_days_trend_28d,
        cast({{ rounded('coalesce(account_windows.activation_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as activation_share_28d,
        cast({{ rounded('coalesce(account_windows.core_value_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as core_value_share_28d,
        cast({{ rounded('coalesce(account_windows.collaboration_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as collaboration_share_28d,
        cast({{ rounded('coalesce(account_windows.invite_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as invite_share_28d,
        cast({{ rounded('coalesce(account_windows.pricing_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as pricing_share_28d,
        cast({{ rounded('coalesce(account_windows.error_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as error_share_28d,
        cast({{ rounded('coalesce(account_windows.setup_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as setup_share_28d,
        cast({{ rounded('coalesce(account_windows.signed_up_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as signed_up_share_28d,
        cast({{ rounded('coalesce(account_windows.trial_started_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as trial_started_share_28d,
        cast({{ rounded('coalesce(account_windows.subscribed_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as subscribed_share_28d,
        cast({{ rounded('coalesce(account_windows.upgraded_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as upgraded_share_28d,
        cast({{ rounded('coalesce(account_windows.downgraded_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as downgraded_share_28d,
        cast({{ rounded('coalesce(account_windows.cancelled_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as cancelled_share_28d,
        cast({{ rounded('coalesce(account_windows.support_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as support_share_28d,
        cast({{ rounded('coalesce(account_windows.navigation_28d / nullif(account_windows.events_28d, 0), 0)', 3) }} as double)
            as navigation_share_28d
    from dim_accounts
    inner join account_rhythm on dim_accounts.account_id = account_rhythm.account_id
    left join account_windows on dim_accounts.account_id = account_windows.account_id
    left join members on dim_accounts.account_id = members.account_id
    left join account_standing on dim_accounts.account_id = account_standing.account_id
    left join account_champions on dim_accounts.account_id = account_champions.account_id
    left join account_failing_steps on dim_accounts.account_id = account_failing_steps.account_id

)

select * from final
