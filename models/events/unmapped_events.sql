{{ config(materialized='view') }}

with fct_events as (

    select * from {{ ref('fct_events') }}

),

unmapped as (

    select
        cast(fct_events.source as string) as source,
        cast(fct_events.event_name as string) as event_name,
        cast(count(*) as bigint) as event_count,
        cast(min(fct_events.occurred_at) as timestamp) as first_seen_at,
        cast(max(fct_events.occurred_at) as timestamp) as last_seen_at
    from fct_events
    where fct_events.behaviour = ''
    group by fct_events.source, fct_events.event_name

)

select * from unmapped
