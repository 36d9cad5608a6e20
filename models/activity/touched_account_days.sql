-- depends_on: {{ ref('dirty_users') }}

with account_day_changes as (

    select * from {{ ref('account_day_changes') }}

),

fct_user_account_activity_daily as (

    {{ rows_of_dirty_users(ref('fct_user_account_activity_daily'), 'activity_date') }}

),

fct_sessions as (

    {{ rows_of_dirty_users(ref('fct_sessions'), 'session_date') }}

),

-- Account days to which a dirty user contributed, or does now.
touched as (

    select
        account_day_changes.account_id,
        account_day_changes.activity_date
    from account_day_changes
    where account_day_changes.since_watermark = {{ since_watermark() }}
    union all
    select
        fct_user_account_activity_daily.account_id,
        fct_user_account_activity_daily.activity_date
    from fct_user_account_activity_daily
    where fct_user_account_activity_daily.account_id != ''
    union all
    select
        fct_sessions.account_id,
        {{ session_day('fct_sessions', 'offsets.day_offset') }} as activity_date
    from fct_sessions
    cross join {{ session_day_offsets() }} as offsets
    where
        fct_sessions.account_id is not null
        and {{ session_day('fct_sessions', 'offsets.day_offset') }} <= {{ reporting_date('fct_sessions.ended_at') }}

),

final as (

    select distinct
        cast(touched.account_id as string) as account_id,
        cast(touched.activity_date as date) as activity_date
    from touched
    where {{ in_increment() }}

)

select * from final
