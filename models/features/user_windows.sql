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

touched_user_windows as (

    select * from {{ ref('touched_user_windows') }}

),

recent_days as (

    select
        fct_user_activity_daily.*,
        {{ period_of('fct_user_activity_daily.activity_date', window_edges(window_days())) }} as period_days
    from fct_user_activity_daily
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
        {{ sums('recent_days', day_measures(behaviours())) }}
    from recent_days
    group by recent_days.user_key, recent_days.period_days

),

windows as (

    select
        cast(periods.user_key as bigint) as user_key,
        cast(max(periods.user_id) as string) as user_id,
        {{ shared_windows(behaviours(), window_days()) }}
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

final as (

    select
        windows.*,
        cast(coalesce(used.features_28d, 0) as bigint) as features_28d
    from windows
    left join used on windows.user_key = used.user_key

),

written as (

    {{ with_untouched_rows('final', ref('touched_user_windows')) }}

)

select * from written
