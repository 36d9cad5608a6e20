{{ config(materialized=in_place('incremental'), incremental_strategy='append') }}
{%- set fct_sessions = stored('sessions', 'fct_sessions') -%}
{%- set account_days = stored('activity', 'fct_user_account_activity_daily') -%}

{% if fct_sessions and account_days -%}
with sessions as (

    {{ rows_of_dirty_users(fct_sessions, 'session_date') }}

),

days as (

    {{ rows_of_dirty_users(account_days, 'activity_date') }}

),

-- Account days to which a dirty user contributed until now; the user's rows are about to be replaced.
contributed as (

    select
        sessions.account_id,
        {{ session_day('sessions', 'offsets.day_offset') }} as activity_date
    from sessions
    cross join {{ session_day_offsets() }} as offsets
    where
        sessions.account_id is not null
        and {{ session_day('sessions', 'offsets.day_offset') }} <= {{ reporting_date('sessions.ended_at') }}
    union all
    select
        days.account_id,
        days.activity_date
    from days
    where days.account_id != ''

),
{%- else -%}
with contributed as (

    select
        '' as account_id,
        dirty_users.rebuild_date as activity_date
    from {{ ref('dirty_users') }} as dirty_users
    where false

),
{%- endif %}

final as (

    select distinct
        cast(contributed.account_id as string) as account_id,
        cast(contributed.activity_date as date) as activity_date,
        cast({{ since_watermark() }} as string) as since_watermark
    from contributed
    where {{ in_increment() }}

)

select * from final
