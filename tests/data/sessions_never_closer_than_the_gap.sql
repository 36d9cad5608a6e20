-- Neighbouring sessions of one user that lie no further apart than the gap and so should be one.
with sessions as (

    select
        user_id,
        started_at,
        lag(ended_at) over (partition by user_id order by started_at asc nulls last) as previous_ended_at
    from {{ ref('fct_sessions') }}

),

too_close as (

    select *
    from sessions
    where started_at <= previous_ended_at + interval '{{ var("session_gap_minutes") }} minutes'

)

select * from too_close
