-- Users whose sessions hold more or fewer events than the user has; empty when no event is lost or counted twice.
with user_events as (

    select
        user_id,
        sum(event_count) as event_count
    from {{ ref('dim_users') }}
    group by user_id

),

sessions as (

    select
        user_id,
        sum(event_count) as event_count
    from {{ ref('fct_sessions') }}
    group by user_id

),

differing as (

    select
        coalesce(user_events.user_id, sessions.user_id) as user_id,
        user_events.event_count as events,
        sessions.event_count as in_sessions
    from user_events
    full outer join sessions on user_events.user_id = sessions.user_id
    where coalesce(user_events.event_count, 0) != coalesce(sessions.event_count, 0)

)

select * from differing
