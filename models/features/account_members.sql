with memberships as (

    select * from {{ ref('memberships') }}

),

fct_user_account_activity_daily as (

    select * from {{ ref('fct_user_account_activity_daily') }}

),

user_rhythm as (

    select * from {{ ref('user_rhythm') }}

),

-- Half a year is enough to know how a member comes and goes, and keeps old history out of a refresh. A visitor who never
-- said who it is is no member.
days as (

    select
        fct_user_account_activity_daily.*,
        max(fct_user_account_activity_daily.activity_date) over (
            partition by fct_user_account_activity_daily.account_id, fct_user_account_activity_daily.user_id
        ) as last_active_date,
        {{ dbt.datediff(
            'lag(fct_user_account_activity_daily.activity_date) over (partition by'
            ~ ' fct_user_account_activity_daily.account_id, fct_user_account_activity_daily.user_id'
            ~ ' order by fct_user_account_activity_daily.activity_date asc nulls last)',
            'fct_user_account_activity_daily.activity_date', 'day'
        ) }} as gap_days
    from fct_user_account_activity_daily
    inner join user_rhythm on fct_user_account_activity_daily.user_key = user_rhythm.user_key
    where
        not user_rhythm.is_anonymous
        and fct_user_account_activity_daily.account_id != ''
        and fct_user_account_activity_daily.activity_date > {{ days_ago(180) }}
        and fct_user_account_activity_daily.activity_date <= {{ as_of_date() }}

),

members as (

    select
        days.account_id,
        days.user_id,
        max(days.last_active_date) as last_active_date,
        count(days.gap_days) as gap_count,
        percentile_cont(0.95) within group (order by days.gap_days asc) as longest_usual_gap_days,
        sum(case when {{ dbt.datediff('days.activity_date', 'days.last_active_date', 'day') }} < 56 then days.event_count else 0 end)
            as events_8w,
        count(case when {{ dbt.datediff('days.activity_date', 'days.last_active_date', 'day') }} < 56 then 1 end) as active_days_8w,
        min(days.first_activation_at) as first_activation_at,
        sum(days.invite_count) as invite_count,
        sum(days.trial_started_count) as trial_started_count
    from days
    group by days.account_id, days.user_id

),

account_days as (

    select
        days.account_id,
        days.activity_date,
        sum(days.event_count) as event_count
    from days
    group by days.account_id, days.activity_date

),

-- The account's activity over the same eight weeks: those that end with the member's last day.
around_members as (

    select
        members.account_id,
        members.user_id,
        sum(account_days.event_count) as account_events_8w
    from members
    inner join account_days
        on
            members.account_id = account_days.account_id
            and members.last_active_date >= account_days.activity_date
            and {{ dbt.datediff('account_days.activity_date', 'members.last_active_date', 'day') }} < 56
    group by members.account_id, members.user_id

),

final as (

    select
        cast(members.account_id as string) as account_id,
        cast(members.user_id as string) as user_id,
        cast(memberships.valid_from as timestamp) as joined_at,
        cast(memberships.valid_to is not null and memberships.valid_to < {{ as_of() }} as boolean) as has_left,
        cast(members.last_active_date as date) as last_active_date,
        cast({{ dbt.datediff('members.last_active_date', as_of_date(), 'day') }} as bigint) as silent_days,
        cast(members.gap_count as bigint) as gap_count,
        -- Of whole days the 95th percentile has two decimals at most: rounded to one, engines would part at its half.
        cast({{ rounded('members.longest_usual_gap_days', 2) }} as double) as longest_usual_gap_days,
        cast(members.active_days_8w as bigint) as active_days_8w,
        cast(members.events_8w as bigint) as events_8w,
        cast({{ rounded('members.events_8w / around_members.account_events_8w', 3) }} as double) as activity_share_8w,
        cast(members.first_activation_at as timestamp) as first_activation_at,
        cast(members.invite_count as bigint) as invite_count,
        cast(members.trial_started_count > 0 as boolean) as has_started_trial
    from members
    inner join memberships
        on
            members.account_id = memberships.account_id
            and members.user_id = memberships.user_id
    inner join around_members
        on
            members.account_id = around_members.account_id
            and members.user_id = around_members.user_id

)

select * from final
