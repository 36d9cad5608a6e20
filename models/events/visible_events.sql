{{ config(materialized='view') }}

with fct_events as (

    select * from {{ ref('fct_events') }}

),

visible as (

    select * from fct_events
    where
        fct_events.occurred_at < {{ as_of() }}
        and not fct_events.is_bot

)

select * from visible
