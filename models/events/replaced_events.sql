{{ config(materialized=in_place('incremental'), incremental_strategy='append') }}
{%- set event_log = stored('events', 'event_log') -%}

with event_arrivals as (

    select * from {{ ref('event_arrivals') }}

),

replaced as (

    select
        cast(event_arrivals.source as string) as source,
        cast(known.event_id as string) as event_id,
        cast(known.previous_id as string) as previous_id,
        cast(known.node_key as bigint) as node_key,
        cast(known.anonymous_key as bigint) as anonymous_key,
        cast(known.account_key as bigint) as account_key,
        cast(known.bucket as bigint) as bucket,
        cast({{ since_watermark() }} as string) as since_watermark
    from {{ event_log or 'event_arrivals' }} as known
    inner join event_arrivals
        on
            known.id_hash = event_arrivals.id_hash
            and known.event_id = event_arrivals.event_id
            and known.kind_key = event_arrivals.replaced_kind_key
    where {{ 'true' if event_log else 'false' }}

)

select * from replaced
