{{ config(
    materialized=in_place('incremental'),
    partition_by='last_active_date',
    meta={'replaces': {
        'dirty': 'touched_account_days',
        'condition': 'dirty.account_id = stored.account_id',
    }},
) }}

with fct_account_activity_daily as (

    select * from {{ ref('fct_account_activity_daily') }}

),

touched_account_days as (

    select * from {{ ref('touched_account_days') }}

),

days as (

    select
        fct_account_activity_daily.*,
        lag(fct_account_activity_daily.activity_date) over (
            partition by fct_account_activity_daily.account_id
            order by fct_account_activity_daily.activity_date asc nulls last
        ) as previous_date,
        row_number() over (
            partition by fct_account_activity_daily.account_id
            order by fct_account_activity_daily.activity_date asc nulls last
        ) as day_rank,
        max(fct_account_activity_daily.activity_date) over (partition by fct_account_activity_daily.account_id) as last_active_date
    from fct_account_activity_daily
    where
        fct_account_activity_daily.activity_date <= {{ as_of_date() }}
        {%- if is_incremental() %}
        and fct_account_activity_daily.account_id in (select touched_account_days.account_id from touched_account_days)
        {%- endif %}

),

-- Everything here is counted back from the account's own last day, so that an account without new events keeps its row.
gaps as (

    select
        days.*,
        {{ dbt.datediff('days.previous_date', 'days.activity_date', 'day') }} as gap_days,
        {{ dbt.datediff('days.activity_date', 'days.last_active_date', 'day') }} as days_before_last,
        {{ dbt.datediff("cast('1970-01-01' as date)", 'days.activity_date', 'day') }} - days.day_rank as streak_key
    from days

),

-- Days in a row keep the same distance to their rank.
streaks as (

    select
        gaps.account_id,
        gaps.streak_key,
        count(*) as streak_days,
        min(gaps.days_before_last) as days_before_last
    from gaps
    group by gaps.account_id, gaps.streak_key

),

longest_streaks as (

    select
        streaks.account_id,
        max(streaks.streak_days) as longest_streak_days,
        max(case when streaks.days_before_last = 0 then streaks.streak_days end) as current_streak_days
    from streaks
    group by streaks.account_id

),

rhythm as (

    select
        gaps.account_id,
        min(gaps.activity_date) as first_active_date,
        max(gaps.activity_date) as last_active_date,
        min(gaps.first_event_at) as first_event_at,
        min(gaps.first_core_value_at) as first_core_value_at,
        max(gaps.last_pricing_at) as last_pricing_at,
        max(gaps.last_purchase_at) as last_purchase_at,
        max(gaps.last_trial_started_at) as last_trial_started_at,
        max(gaps.last_cancelled_at) as last_cancelled_at,
        min(case when gaps.signed_up_count > 0 then gaps.activity_date end) as signed_up_date,
        max(case when gaps.trial_started_count > 0 then gaps.activity_date end) as trial_started_date,
        max(case when gaps.cancelled_count > 0 then gaps.activity_date end) as cancelled_date,
        count(case when gaps.days_before_last < 365 then gaps.gap_days end) as gap_count,
        percentile_cont(0.5) within group (
            order by case when gaps.days_before_last < 365 then gaps.gap_days end asc
        ) as median_gap_days,
        percentile_cont(0.9) within group (
            order by case when gaps.days_before_last < 365 then gaps.gap_days end asc
        ) as long_gap_days,
        count(case when gaps.days_before_last < 90 then 1 end) as active_days_before_silence
    from gaps
    group by gaps.account_id

),

rebuilt as (

    select
        rhythm.*,
        longest_streaks.current_streak_days,
        longest_streaks.longest_streak_days,
        {{ whole_seconds('rhythm.first_event_at', 'rhythm.first_core_value_at') }} as seconds_to_first_value
    from rhythm
    inner join longest_streaks on rhythm.account_id = longest_streaks.account_id

),

final as (

    select
        cast(rebuilt.account_id as string) as account_id,
        cast(rebuilt.first_active_date as date) as first_active_date,
        cast(rebuilt.last_active_date as date) as last_active_date,
        cast(rebuilt.first_core_value_at as timestamp) as first_core_value_at,
        cast(rebuilt.last_pricing_at as timestamp) as last_pricing_at,
        cast(rebuilt.last_purchase_at as timestamp) as last_purchase_at,
        cast(rebuilt.last_trial_started_at as timestamp) as last_trial_started_at,
        cast(rebuilt.last_cancelled_at as timestamp) as last_cancelled_at,
        cast(rebuilt.signed_up_date as date) as signed_up_date,
        cast(rebuilt.trial_started_date as date) as trial_started_date,
        cast(rebuilt.cancelled_date as date) as cancelled_date,
        cast(rebuilt.seconds_to_first_value as bigint) as seconds_to_first_value,
        cast(rebuilt.gap_count as bigint) as gap_count,
        cast({{ rounded('rebuilt.median_gap_days', 1) }} as double) as median_gap_days,
        cast({{ rounded('rebuilt.long_gap_days', 1) }} as double) as long_gap_days,
        cast(rebuilt.current_streak_days as bigint) as current_streak_days,
        cast(rebuilt.longest_streak_days as bigint) as longest_streak_days,
        cast(rebuilt.active_days_before_silence as bigint) as active_days_before_silence
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('touched_account_days')) }}

)

select * from written
