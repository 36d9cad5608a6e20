{{ config(materialized=in_place('view')) }}

with event_log as (

    select * from {{ ref('event_log') }}

),

visible as (

    select * from event_log
    where
        event_log.occurred_at < {{ as_of() }}
        and not event_log.is_bot

)

select * from visible
