with fct_user_activity_daily as (

    select * from {{ ref('fct_user_activity_daily') }}

),

user_rhythm as (

    select * from {{ ref('user_rhythm') }}

),

calendar as (

    {{ calendar(days_ago(365), as_of_date()) }}

),

-- Traffic of visitors who never said who they are makes no day busy or quiet for those who did.
active_by_day as (

    select
        fct_user_activity_daily.activity_date,
        count(*) as active_users
    from fct_user_activity_daily
    inner join user_rhythm on fct_user_activity_daily.user_key = user_rhythm.user_key
    where
        not user_rhythm.is_anonymous
        and fct_user_activity_daily.activity_date >= {{ days_ago(365) }}
        and fct_user_activity_daily.activity_date <= {{ as_of_date() }}
    group by fct_user_activity_daily.activity_date

),

days as (

    select
        calendar.calendar_date,
        coalesce(active_by_day.active_users, 0) as active_users
    from calendar
    left join active_by_day on calendar.calendar_date = active_by_day.activity_date

),

-- What is usual on a day: the median of the four weeks before it.
usual as (

    select
        days.calendar_date,
        percentile_cont(0.5) within group (order by earlier.active_users asc) as usual_active_users
    from days
    inner join days as earlier
        on
            days.calendar_date > earlier.calendar_date
            and earlier.calendar_date >= {{ dbt.dateadd('day', -28, 'days.calendar_date') }}
    group by days.calendar_date

),

-- Whole thousandths: integer sums are equal on every engine and in every order.
weighted as (

    select
        days.calendar_date,
        days.active_users,
        coalesce(usual.usual_active_users, 0) as usual_active_users,
        case
            when coalesce(usual.usual_active_users, 0) = 0 then 1000
            else least(1000, cast(floor(1000 * days.active_users / usual.usual_active_users) as bigint))
        end as weight
    from days
    left join usual on days.calendar_date = usual.calendar_date

),

final as (

    select
        cast(weighted.calendar_date as date) as calendar_date,
        cast(weighted.active_users as bigint) as active_users,
        cast(weighted.usual_active_users as double) as usual_active_users,
        cast(weighted.weight as bigint) as weight,
        cast(
            sum(weighted.weight) over (
                order by weighted.calendar_date asc nulls last
                rows between unbounded preceding and current row
            ) as bigint
        ) as weight_to_date
    from weighted

)

select * from final
