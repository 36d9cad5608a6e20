{{ config(
    materialized='incremental',
    partition_by='occurred_date',
    meta={'replaces': {
        'dirty': 'event_arrivals',
        'condition': 'dirty.is_replacement and dirty.event_id = stored.event_id and dirty.source = stored.source',
    }},
) }}
-- depends_on: {{ ref('replaced_events') }}, {{ ref('event_arrivals') }}, {{ ref('candidate_events') }}

with arrivals as (

    select * from {{ ref('event_arrivals') if is_incremental() else ref('candidate_events') }}

),

final as (

    select
        cast(arrivals.event_id as string) as event_id,
        cast(arrivals.event_type as string) as event_type,
        cast(arrivals.event_name as string) as event_name,
        cast(arrivals.occurred_at as timestamp) as occurred_at,
        cast(arrivals.received_at as timestamp) as received_at,
        cast(arrivals.user_id as string) as user_id,
        cast(arrivals.anonymous_id as string) as anonymous_id,
        cast(arrivals.previous_id as string) as previous_id,
        cast(arrivals.account_id as string) as account_id,
        cast(arrivals.native_session_id as string) as native_session_id,
        cast(arrivals.behaviour as string) as behaviour,
        cast(arrivals.feature as string) as feature,
        cast(arrivals.step as string) as step,
        cast(arrivals.outcome as string) as outcome,
        cast(arrivals.is_bot as boolean) as is_bot,
        cast(arrivals.node_key as bigint) as node_key,
        cast(arrivals.anonymous_key as bigint) as anonymous_key,
        cast(arrivals.bucket as bigint) as bucket,
        cast(arrivals.source as string) as source,
        cast(arrivals.loaded_at as timestamp) as loaded_at,
        cast(arrivals.load_id as bigint) as load_id,
        cast(arrivals.occurred_date as date) as occurred_date
    from arrivals

),

written as (

    {{ with_kept('final', ref('event_arrivals')) }}

)

select * from written
