{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ delete_touched() }}', on_schema_change='fail') }}

with fct_user_activity_daily as (

    select * from {{ ref('fct_user_activity_daily') }}

),

days as (

    select
        fct_user_activity_daily.*,
        lag(fct_user_activity_daily.activity_date) over (
            partition by fct_user_activity_daily.user_id
            order by fct_user_activity_daily.activity_date asc nulls last
        ) as previous_date,
        max(fct_user_activity_daily.activity_date) over (partition by fct_user_activity_daily.user_id) as last_active_date
    from fct_user_activity_daily
    where
        fct_user_activity_daily.activity_date <= {{ as_of_date() }}
        and {{ only_touched('fct_user_activity_daily.user_id') }}

),

-- Everything here is counted back from the user's own last day, so that a user without new events keeps its row.
gaps as (

    select
        days.*,
        {{ dbt.datediff('days.previous_date', 'days.activity_date', 'day') }} as gap_days,
        {{ dbt.datediff('days.activity_date', 'days.last_active_date', 'day') }} as days_before_last
    from days

),

final as (

    select
        cast(gaps.user_id as string) as user_id,
        cast(min(gaps.activity_date) as date) as first_active_date,
        cast(max(gaps.activity_date) as date) as last_active_date,
        cast(min(gaps.first_core_value_at) as timestamp) as first_core_value_at,
        cast(max(gaps.last_pricing_at) as timestamp) as last_pricing_at,
        cast(max(gaps.last_purchase_at) as timestamp) as last_purchase_at,
        cast(count(case when gaps.days_before_last < 365 then gaps.gap_days end) as bigint) as gap_count,
        cast(
            round(
                percentile_cont(0.9) within group (
                    order by case when gaps.days_before_last < 365 then gaps.gap_days end asc
                ), 1
            ) as double
        ) as long_gap_days,
        cast(count(case when gaps.days_before_last < 90 then 1 end) as bigint) as active_days_before_silence
    from gaps
    group by gaps.user_id

)

select * from final
