{{ config(
    materialized=in_place('incremental'),
    partition_by='last_active_date',
    meta={'replaces': {
        'dirty': 'dirty_users',
        'condition': 'dirty.user_key = stored.user_key',
    }},
) }}

with fct_user_activity_daily as (

    select * from {{ ref('fct_user_activity_daily') }}

),

attributes as (

    select * from {{ ref('attributes') }}

),

dirty_users as (

    select * from {{ ref('dirty_users') }}

),

-- What was said last of when the user began.
created as (

    select
        attributes.entity_id as user_id,
        max({{ reporting_date(utc_timestamp('attributes.value')) }}) as created_date
    from attributes
    where
        attributes.entity_type = 'user'
        and attributes.attribute = 'created_at'
        and attributes.valid_to is null
    group by attributes.entity_id

),

days as (

    select
        fct_user_activity_daily.*,
        lag(fct_user_activity_daily.activity_date) over (
            partition by fct_user_activity_daily.user_key
            order by fct_user_activity_daily.activity_date asc nulls last
        ) as previous_date,
        row_number() over (
            partition by fct_user_activity_daily.user_key
            order by fct_user_activity_daily.activity_date asc nulls last
        ) as day_rank,
        max(fct_user_activity_daily.activity_date) over (partition by fct_user_activity_daily.user_key) as last_active_date
    from fct_user_activity_daily
    where
        fct_user_activity_daily.activity_date <= {{ as_of_date() }}
        {%- if is_incremental() %}
        and fct_user_activity_daily.user_key in (select dirty_users.user_key from dirty_users)
        {%- endif %}

),

-- Everything here is counted back from the user's own last day, so that a user without new events keeps its row.
gaps as (

    select
        days.*,
        {{ dbt.datediff('days.previous_date', 'days.activity_date', 'day') }} as gap_days,
        {{ dbt.datediff('days.activity_date', 'days.last_active_date', 'day') }} as days_before_last,
        {{ dbt.datediff("cast('1970-01-01' as date)", 'days.activity_date', 'day') }} - days.day_rank as streak_key
    from days

),

beginnings as (

    select
        gaps.user_key,
        min(gaps.activity_date) as first_active_date,
        min(case when gaps.signed_up_count > 0 then gaps.activity_date end) as signed_up_date,
        -- A date after the user's last day cannot be right.
        max(case when created.created_date <= gaps.last_active_date then created.created_date end) as created_date,
        max(case when gaps.gap_days > 28 then gaps.activity_date end) as returned_date
    from gaps
    left join created on gaps.user_id = created.user_id
    group by gaps.user_key

),

-- A user starts when created or signed up or, where neither is known, at the first visit; a return ends four silent weeks
-- or more.
turns as (

    select
        beginnings.user_key,
        coalesce(
            least(
                coalesce(beginnings.created_date, beginnings.signed_up_date),
                coalesce(beginnings.signed_up_date, beginnings.created_date)
            ),
            beginnings.first_active_date
        ) as started_date,
        beginnings.returned_date
    from beginnings

),

since_turns as (

    select
        gaps.user_key,
        max(turns.started_date) as started_date,
        max(turns.returned_date) as returned_date,
        max(case when gaps.activity_date = turns.returned_date then gaps.gap_days - 1 end) as silent_days_before_return,
        count(case when gaps.activity_date >= turns.returned_date then 1 end) as active_days_since_return,
        sum(
            case
                when {{ dbt.datediff('turns.started_date', 'gaps.activity_date', 'day') }} between 0 and 6
                    then gaps.core_value_count
                else 0
            end
        ) as core_value_first_7d,
        count(
            case when {{ dbt.datediff('turns.started_date', 'gaps.activity_date', 'day') }} between 21 and 34 then 1 end
        ) as active_days_weeks_4_5
    from gaps
    inner join turns on gaps.user_key = turns.user_key
    group by gaps.user_key

),

-- Days in a row keep the same distance to their rank.
streaks as (

    select
        gaps.user_key,
        gaps.streak_key,
        count(*) as streak_days,
        min(gaps.days_before_last) as days_before_last
    from gaps
    group by gaps.user_key, gaps.streak_key

),

longest_streaks as (

    select
        streaks.user_key,
        max(streaks.streak_days) as longest_streak_days,
        max(case when streaks.days_before_last = 0 then streaks.streak_days end) as current_streak_days
    from streaks
    group by streaks.user_key

),

rhythm as (

    select
        gaps.user_key,
        max(gaps.user_id) as user_id,
        sum(gaps.identified_event_count) = 0 as is_anonymous,
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
        max(case when gaps.core_value_count > 0 then gaps.activity_date end) as last_core_value_date,
        count(case when gaps.days_before_last < 365 then gaps.gap_days end) as gap_count,
        percentile_cont(0.5) within group (
            order by case when gaps.days_before_last < 365 then gaps.gap_days end asc
        ) as median_gap_days,
        percentile_cont(0.9) within group (
            order by case when gaps.days_before_last < 365 then gaps.gap_days end asc
        ) as long_gap_days,
        count(case when gaps.days_before_last < 90 then 1 end) as active_days_before_silence
    from gaps
    group by gaps.user_key

),

rebuilt as (

    select
        rhythm.*,
        longest_streaks.current_streak_days,
        longest_streaks.longest_streak_days,
        since_turns.started_date,
        since_turns.returned_date,
        since_turns.silent_days_before_return,
        since_turns.active_days_since_return,
        since_turns.core_value_first_7d,
        since_turns.active_days_weeks_4_5,
        {{ whole_seconds('rhythm.first_event_at', 'rhythm.first_core_value_at') }} as seconds_to_first_value
    from rhythm
    inner join longest_streaks on rhythm.user_key = longest_streaks.user_key
    inner join since_turns on rhythm.user_key = since_turns.user_key

),

final as (

    select
        cast(rebuilt.user_key as bigint) as user_key,
        cast(rebuilt.user_id as string) as user_id,
        cast(rebuilt.is_anonymous as boolean) as is_anonymous,
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
        cast(rebuilt.active_days_before_silence as bigint) as active_days_before_silence,
        cast(rebuilt.last_core_value_date as date) as last_core_value_date,
        cast(rebuilt.started_date as date) as started_date,
        cast(rebuilt.returned_date as date) as returned_date,
        cast(rebuilt.silent_days_before_return as bigint) as silent_days_before_return,
        cast(rebuilt.active_days_since_return as bigint) as active_days_since_return,
        cast(rebuilt.core_value_first_7d as bigint) as core_value_first_7d,
        cast(rebuilt.active_days_weeks_4_5 as bigint) as active_days_weeks_4_5
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('dirty_users')) }}

)

select * from written
