-- Users whose days do not add up to their sessions and events.
with days as (

    select
        user_id,
        sum(event_count) as event_count,
        sum(session_count) as session_count
    from {{ ref('fct_user_activity_daily') }}
    group by user_id

),

sessions as (

    select
        user_id,
        sum(event_count) as event_count,
        count(*) as session_count
    from {{ ref('fct_sessions') }}
    group by user_id

),

differing as (

    select coalesce(days.user_id, sessions.user_id) as user_id
    from days
    full outer join sessions on days.user_id = sessions.user_id
    where
        coalesce(days.event_count, 0) != coalesce(sessions.event_count, 0)
        or coalesce(days.session_count, 0) != coalesce(sessions.session_count, 0)

)

select * from differing
