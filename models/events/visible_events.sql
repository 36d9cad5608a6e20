{{ config(materialized='view') }}

with event_log as (

    select * from {{ ref('event_log') }}

),

visible as (

    select * from event_log
    where {{ is_visible('event_log') }}

)

select * from visible
