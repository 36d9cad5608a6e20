{{ config(materialized='incremental', incremental_strategy='append') }}
{%- set fct_events = stored('events', 'fct_events') -%}

with event_arrivals as (

    select * from {{ ref('event_arrivals') }}

),

replaced as (

    select
        cast(known.source as string) as source,
        cast(known.event_id as string) as event_id,
        cast(known.user_id as string) as user_id,
        cast(known.previous_id as string) as previous_id,
        cast(known.account_id as string) as account_id,
        cast(known.node_key as bigint) as node_key,
        cast(known.anonymous_key as bigint) as anonymous_key,
        cast(known.bucket as bigint) as bucket,
        cast({{ since_watermark() }} as string) as since_watermark
    from {{ fct_events or 'event_arrivals' }} as known
    inner join event_arrivals
        on
            known.event_id = event_arrivals.event_id
            and known.source = event_arrivals.source
    where
        event_arrivals.is_replacement
        and {{ 'true' if fct_events else 'false' }}

)

select * from replaced
