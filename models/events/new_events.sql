{{ config(materialized=in_place('view')) }}

with checked_events as (

    select * from {{ ref('checked_events') }}

),

accepted as (

    select * from checked_events
    where
        checked_events.quarantine_reason is null
        and not checked_events.is_own_delivery
        and checked_events.load_id > {{ loaded_after() }}

)

select * from accepted
