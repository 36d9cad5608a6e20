-- Neighbouring visits of one user that lie no further apart than the gap and so should be one; native sessions may touch.
with sessions as (

    select
        user_id,
        visit_started_at,
        started_at,
        lag(visit_started_at) over (partition by user_id order by started_at asc nulls last) as previous_visit_at,
        lag(ended_at) over (partition by user_id order by started_at asc nulls last) as previous_ended_at
    from {{ ref('fct_sessions') }}
    where native_session_id is null

),

too_close as (

    select *
    from sessions
    where
        visit_started_at != previous_visit_at
        and started_at <= previous_ended_at + interval '{{ var("session_gap_minutes") }} minutes'

)

select * from too_close
