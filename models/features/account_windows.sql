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
        {{ period_of('fct_account_activity_daily.activity_date', window_edges(window_days())) }} as period_days
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
        {{ sums('recent_days', day_measures(behaviours())) }}
    from recent_days
    group by recent_days.account_id, recent_days.period_days

),

windows as (

    select
        cast(periods.account_id as string) as account_id,
        {{ shared_windows(behaviours(), window_days()) }}
    from periods
    group by periods.account_id

),

-- Breadth: how many people the activity comes from.
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

final as (

    select
        windows.*,
        cast(breadth.active_users_1d as bigint) as active_users_1d,
        cast(breadth.active_users_7d as bigint) as active_users_7d,
        cast(breadth.active_users_28d as bigint) as active_users_28d,
        cast(breadth.active_users_90d as bigint) as active_users_90d,
        cast(breadth.previous_active_users_28d as bigint) as previous_active_users_28d,
        cast(coalesce(used.features_28d, 0) as bigint) as features_28d,
        cast(coalesce(used.top_feature_events_28d, 0) as bigint) as top_feature_events_28d,
        cast(coalesce(used.feature_events_28d, 0) as bigint) as feature_events_28d
    from windows
    inner join breadth on windows.account_id = breadth.account_id
    left join used on windows.account_id = used.account_id

),

written as (

    {{ with_untouched_rows('final', ref('touched_account_windows')) }}

)

select * from written
