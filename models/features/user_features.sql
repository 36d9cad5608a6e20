{{ config(materialized=in_place('view')) }}

with user_rhythm as (

    select * from {{ ref('user_rhythm') }}

),

user_windows as (

    select * from {{ ref('user_windows') }}

),

user_standing as (

    select * from {{ ref('user_standing') }}

),

user_looks as (

    select * from {{ ref('user_looks') }}

),

user_worst_steps as (

    select * from {{ ref('user_worst_steps') }}

),

user_teams as (

    select * from {{ ref('user_teams') }}

),

population_activity as (

    select * from {{ ref('population_activity') }}

),

today as (

    select population_activity.weight_to_date
    from population_activity
    where population_activity.calendar_date = {{ as_of_date() }}

),

-- What came before the first loaded event, nobody has seen.
seen as (

    select min(user_rhythm.first_active_date) as seen_from
    from user_rhythm

),

-- A silent day counts by the share of the usual population that was active; 1000 thousandths are one full day.
silence as (

    select
        user_rhythm.user_key,
        {{ dbt.datediff('user_rhythm.last_active_date', as_of_date(), 'day') }} as silent_days,
        (today.weight_to_date - coalesce(last_days.weight_to_date, 0)) / 1000 as adjusted_silent_days
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
        cast(user_rhythm.signed_up_date as date) as signed_up_date,
        cast(user_rhythm.trial_started_date as date) as trial_started_date,
        cast(user_rhythm.cancelled_date as date) as cancelled_date,
        cast(user_rhythm.seconds_to_first_value as bigint) as seconds_to_first_value,
        cast(user_rhythm.gap_count as bigint) as gap_count,
        cast(user_rhythm.median_gap_days as double) as median_gap_days,
        cast(user_rhythm.long_gap_days as double) as long_gap_days,
        cast(user_rhythm.current_streak_days as bigint) as current_streak_days,
        cast(user_rhythm.longest_streak_days as bigint) as longest_streak_days,
        cast(user_rhythm.active_days_before_silence as bigint) as active_days_before_silence,
        cast(user_rhythm.last_core_value_date as date) as last_core_value_date,
        cast(user_rhythm.started_date as date) as started_date,
        cast(user_rhythm.returned_date as date) as returned_date,
        cast(user_rhythm.silent_days_before_return as bigint) as silent_days_before_return,
        cast(user_rhythm.active_days_since_return as bigint) as active_days_since_return,
        cast(case when user_rhythm.started_date >= seen.seen_from then user_rhythm.core_value_first_7d end as bigint)
            as core_value_first_7d,
        cast(case when user_rhythm.started_date >= seen.seen_from then user_rhythm.active_days_weeks_4_5 end as bigint)
            as active_days_weeks_4_5,
        cast(user_standing.account_id as string) as account_id,
        cast(user_standing.is_anonymous as boolean) as is_anonymous,
        cast(user_standing.has_left as boolean) as has_left,
        cast(user_standing.role as string) as role,
        cast(user_standing.plan as string) as plan,
        cast(user_standing.has_higher_plan as boolean) as has_higher_plan,
        cast(user_standing.subscribed_at as timestamp) as subscribed_at,
        cast(user_standing.is_cancelled as boolean) as is_cancelled,
        cast(user_standing.trial_began_date as date) as trial_began_date,
        cast(user_standing.trial_end_at as timestamp) as trial_end_at,
        cast(user_standing.is_in_trial as boolean) as is_in_trial,
        cast({{ dbt.datediff('user_rhythm.started_date', as_of_date(), 'day') }} as bigint) as days_since_start,
        cast({{ dbt.datediff('user_rhythm.last_core_value_date', as_of_date(), 'day') }} as bigint) as days_since_core_value,
        cast({{ dbt.datediff('user_rhythm.returned_date', as_of_date(), 'day') }} as bigint) as days_since_return,
        cast({{ dbt.datediff(as_of_date(), reporting_date('user_standing.trial_end_at'), 'day') }} as bigint)
            as trial_days_left,
        cast(silence.silent_days as bigint) as silent_days,
        cast({{ rounded('silence.adjusted_silent_days', 1) }} as double) as adjusted_silent_days,
        cast({{ dbt.datediff('user_rhythm.first_active_date', as_of_date(), 'day') }} as bigint) as days_since_first_active,
        cast({{ dbt.datediff('user_rhythm.trial_started_date', as_of_date(), 'day') }} as bigint) as days_since_trial_start,
        cast({{ dbt.datediff(reporting_date('user_rhythm.last_pricing_at'), as_of_date(), 'day') }} as bigint)
            as days_since_pricing,
        cast(user_rhythm.first_core_value_at is not null as boolean) as has_core_value,
        cast(user_rhythm.trial_started_date is not null as boolean) as has_started_trial,
        cast(user_standing.subscribed_at is not null as boolean) as has_subscribed,
        cast(coalesce(user_standing.subscribed_at >= user_rhythm.last_pricing_at, false) as boolean) as has_bought_since_pricing,
        cast({{ dbt.datediff('user_standing.trial_began_date', as_of_date(), 'day') }} as bigint) as days_in_trial,
        cast({{ dbt.datediff('user_standing.trial_began_date', reporting_date('user_standing.trial_end_at'), 'day') }} as bigint)
            as trial_days,
        cast(user_teams.in_open_team_trial as boolean) as in_open_team_trial,
        cast(user_teams.leads_open_trial as boolean) as leads_open_trial,
        cast(user_teams.has_team_project as boolean) as has_team_project,
        cast(user_teams.hours_since_project as bigint) as hours_since_project,
        cast(user_teams.team_member_count as bigint) as team_member_count,
        cast(user_teams.team_invite_count as bigint) as team_invite_count,
        cast(user_teams.team_trial_days_left as bigint) as team_trial_days_left,
        cast(user_worst_steps.worst_step as string) as worst_step,
        cast(coalesce(user_worst_steps.worst_step_failures_7d, 0) as bigint) as worst_step_failures_7d,
        cast(user_worst_steps.days_since_worst_failure as bigint) as days_since_worst_failure,
        cast(user_worst_steps.has_succeeded_at_worst_step as boolean) as has_succeeded_at_worst_step,
        cast(coalesce(user_windows.active_days_7d, 0) as bigint) as active_days_7d,
        cast(coalesce(user_windows.active_days_28d, 0) as bigint) as active_days_28d,
        cast(coalesce(user_windows.active_days_90d, 0) as bigint) as active_days_90d,
        cast(coalesce(user_windows.previous_active_days_28d, 0) as bigint) as previous_active_days_28d,
        cast(coalesce(user_windows.events_1d, 0) as bigint) as events_1d,
        cast(coalesce(user_windows.events_7d, 0) as bigint) as events_7d,
        cast(coalesce(user_windows.events_28d, 0) as bigint) as events_28d,
        cast(coalesce(user_windows.events_90d, 0) as bigint) as events_90d,
        cast(coalesce(user_windows.previous_events_28d, 0) as bigint) as previous_events_28d,
        cast(coalesce(user_windows.sessions_1d, 0) as bigint) as sessions_1d,
        cast(coalesce(user_windows.sessions_7d, 0) as bigint) as sessions_7d,
        cast(coalesce(user_windows.sessions_28d, 0) as bigint) as sessions_28d,
        cast(coalesce(user_windows.sessions_90d, 0) as bigint) as sessions_90d,
        cast(coalesce(user_windows.active_seconds_1d, 0) as bigint) as active_seconds_1d,
        cast(coalesce(user_windows.active_seconds_7d, 0) as bigint) as active_seconds_7d,
        cast(coalesce(user_windows.active_seconds_28d, 0) as bigint) as active_seconds_28d,
        cast(coalesce(user_windows.active_seconds_90d, 0) as bigint) as active_seconds_90d,
        cast(coalesce(user_windows.failures_1d, 0) as bigint) as failures_1d,
        cast(coalesce(user_windows.failures_7d, 0) as bigint) as failures_7d,
        cast(coalesce(user_windows.failures_28d, 0) as bigint) as failures_28d,
        cast(coalesce(user_windows.failures_90d, 0) as bigint) as failures_90d,
        cast(coalesce(user_windows.repeated_failures_7d, 0) as bigint) as repeated_failures_7d,
        cast(coalesce(user_windows.repeated_failures_28d, 0) as bigint) as repeated_failures_28d,
        cast(coalesce(user_windows.repeated_failures_90d, 0) as bigint) as repeated_failures_90d,
        cast(coalesce(user_windows.activation_1d, 0) as bigint) as activation_1d,
        cast(coalesce(user_windows.activation_7d, 0) as bigint) as activation_7d,
        cast(coalesce(user_windows.activation_28d, 0) as bigint) as activation_28d,
        cast(coalesce(user_windows.activation_90d, 0) as bigint) as activation_90d,
        cast(coalesce(user_windows.core_value_1d, 0) as bigint) as core_value_1d,
        cast(coalesce(user_windows.core_value_7d, 0) as bigint) as core_value_7d,
        cast(coalesce(user_windows.core_value_28d, 0) as bigint) as core_value_28d,
        cast(coalesce(user_windows.core_value_90d, 0) as bigint) as core_value_90d,
        cast(coalesce(user_windows.collaboration_1d, 0) as bigint) as collaboration_1d,
        cast(coalesce(user_windows.collaboration_7d, 0) as bigint) as collaboration_7d,
        cast(coalesce(user_windows.collaboration_28d, 0) as bigint) as collaboration_28d,
        cast(coalesce(user_windows.collaboration_90d, 0) as bigint) as collaboration_90d,
        cast(coalesce(user_windows.invite_1d, 0) as bigint) as invite_1d,
        cast(coalesce(user_windows.invite_7d, 0) as bigint) as invite_7d,
        cast(coalesce(user_windows.invite_28d, 0) as bigint) as invite_28d,
        cast(coalesce(user_windows.invite_90d, 0) as bigint) as invite_90d,
        cast(coalesce(user_windows.pricing_1d, 0) as bigint) as pricing_1d,
        cast(coalesce(user_windows.pricing_7d, 0) as bigint) as pricing_7d,
        cast(coalesce(user_windows.pricing_28d, 0) as bigint) as pricing_28d,
        cast(coalesce(user_windows.pricing_90d, 0) as bigint) as pricing_90d,
        cast(coalesce(user_windows.error_1d, 0) as bigint) as error_1d,
        cast(coalesce(user_windows.error_7d, 0) as bigint) as error_7d,
        cast(coalesce(user_windows.error_28d, 0) as bigint) as error_28d,
        cast(coalesce(user_windows.error_90d, 0) as bigint) as error_90d,
        cast(coalesce(user_windows.setup_1d, 0) as bigint) as setup_1d,
        cast(coalesce(user_windows.setup_7d, 0) as bigint) as setup_7d,
        cast(coalesce(user_windows.setup_28d, 0) as bigint) as setup_28d,
        cast(coalesce(user_windows.setup_90d, 0) as bigint) as setup_90d,
        cast(coalesce(user_windows.signed_up_1d, 0) as bigint) as signed_up_1d,
        cast(coalesce(user_windows.signed_up_7d, 0) as bigint) as signed_up_7d,
        cast(coalesce(user_windows.signed_up_28d, 0) as bigint) as signed_up_28d,
        cast(coalesce(user_windows.signed_up_90d, 0) as bigint) as signed_up_90d,
        cast(coalesce(user_windows.trial_started_1d, 0) as bigint) as trial_started_1d,
        cast(coalesce(user_windows.trial_started_7d, 0) as bigint) as trial_started_7d,
        cast(coalesce(user_windows.trial_started_28d, 0) as bigint) as trial_started_28d,
        cast(coalesce(user_windows.trial_started_90d, 0) as bigint) as trial_started_90d,
        cast(coalesce(user_windows.subscribed_1d, 0) as bigint) as subscribed_1d,
        cast(coalesce(user_windows.subscribed_7d, 0) as bigint) as subscribed_7d,
        cast(coalesce(user_windows.subscribed_28d, 0) as bigint) as subscribed_28d,
        cast(coalesce(user_windows.subscribed_90d, 0) as bigint) as subscribed_90d,
        cast(coalesce(user_windows.upgraded_1d, 0) as bigint) as upgraded_1d,
        cast(coalesce(user_windows.upgraded_7d, 0) as bigint) as upgraded_7d,
        cast(coalesce(user_windows.upgraded_28d, 0) as bigint) as upgraded_28d,
        cast(coalesce(user_windows.upgraded_90d, 0) as bigint) as upgraded_90d,
        cast(coalesce(user_windows.downgraded_1d, 0) as bigint) as downgraded_1d,
        cast(coalesce(user_windows.downgraded_7d, 0) as bigint) as downgraded_7d,
        cast(coalesce(user_windows.downgraded_28d, 0) as bigint) as downgraded_28d,
        cast(coalesce(user_windows.downgraded_90d, 0) as bigint) as downgraded_90d,
        cast(coalesce(user_windows.cancelled_1d, 0) as bigint) as cancelled_1d,
        cast(coalesce(user_windows.cancelled_7d, 0) as bigint) as cancelled_7d,
        cast(coalesce(user_windows.cancelled_28d, 0) as bigint) as cancelled_28d,
        cast(coalesce(user_windows.cancelled_90d, 0) as bigint) as cancelled_90d,
        cast(coalesce(user_windows.support_1d, 0) as bigint) as support_1d,
        cast(coalesce(user_windows.support_7d, 0) as bigint) as support_7d,
        cast(coalesce(user_windows.support_28d, 0) as bigint) as support_28d,
        cast(coalesce(user_windows.support_90d, 0) as bigint) as support_90d,
        cast(coalesce(user_windows.navigation_1d, 0) as bigint) as navigation_1d,
        cast(coalesce(user_windows.navigation_7d, 0) as bigint) as navigation_7d,
        cast(coalesce(user_windows.navigation_28d, 0) as bigint) as navigation_28d,
        cast(coalesce(user_windows.navigation_90d, 0) as bigint) as navigation_90d,
        cast(coalesce(user_looks.pricing_since_purchase_28d, 0) as bigint) as pricing_since_purchase_28d,
        cast(coalesce(user_windows.features_28d, 0) as bigint) as features_28d,
        cast(
            coalesce(user_windows.active_days_28d, 0) - coalesce(user_windows.previous_active_days_28d, 0) as bigint
        ) as active_days_trend_28d,
        cast({{ rounded('coalesce(user_windows.activation_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as activation_share_28d,
        cast({{ rounded('coalesce(user_windows.core_value_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as core_value_share_28d,
        cast({{ rounded('coalesce(user_windows.collaboration_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as collaboration_share_28d,
        cast({{ rounded('coalesce(user_windows.invite_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as invite_share_28d,
        cast({{ rounded('coalesce(user_windows.pricing_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as pricing_share_28d,
        cast({{ rounded('coalesce(user_windows.error_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as error_share_28d,
        cast({{ rounded('coalesce(user_windows.setup_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as setup_share_28d,
        cast({{ rounded('coalesce(user_windows.signed_up_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as signed_up_share_28d,
        cast({{ rounded('coalesce(user_windows.trial_started_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as trial_started_share_28d,
        cast({{ rounded('coalesce(user_windows.subscribed_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as subscribed_share_28d,
        cast({{ rounded('coalesce(user_windows.upgraded_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as upgraded_share_28d,
        cast({{ rounded('coalesce(user_windows.downgraded_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as downgraded_share_28d,
        cast({{ rounded('coalesce(user_windows.cancelled_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as cancelled_share_28d,
        cast({{ rounded('coalesce(user_windows.support_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as support_share_28d,
        cast({{ rounded('coalesce(user_windows.navigation_28d / nullif(user_windows.events_28d, 0), 0)', 3) }} as double)
            as navigation_share_28d
    from user_rhythm
    cross join seen
    inner join silence on user_rhythm.user_key = silence.user_key
    left join user_windows on user_rhythm.user_key = user_windows.user_key
    left join user_standing on user_rhythm.user_id = user_standing.user_id
    left join user_looks on user_rhythm.user_id = user_looks.user_id
    left join user_teams on user_rhythm.user_id = user_teams.user_id
    left join user_worst_steps on user_rhythm.user_id = user_worst_steps.user_id

)

select * from final
