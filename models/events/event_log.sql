{{ config(
    materialized=in_place('incremental'),
    partition_by='occurred_date',
    meta={'replaces': {
        'dirty': 'event_arrivals',
        'condition': 'dirty.id_hash = stored.id_hash and dirty.event_id = stored.event_id'
        ~ ' and dirty.replaced_kind_key = stored.kind_key',
    }},
) }}
-- depends_on: {{ ref('replaced_events') }}, {{ ref('event_arrivals') }}, {{ ref('candidate_events') }}

with arrivals as (

    select * from {{ ref('event_arrivals') if is_incremental() else ref('candidate_events') }}

),

final as (

    select
        cast(arrivals.event_id as string) as event_id,
        cast(arrivals.occurred_at as timestamp) as occurred_at,
        cast(arrivals.received_at as timestamp) as received_at,
        cast(arrivals.previous_id as string) as previous_id,
        cast(arrivals.native_session_id as string) as native_session_id,
        cast(arrivals.kind_key as bigint) as kind_key,
        cast(arrivals.rule_key as bigint) as rule_key,
        cast(arrivals.is_bot as boolean) as is_bot,
        cast(arrivals.is_identified as boolean) as is_identified,
        cast(arrivals.node_key as bigint) as node_key,
        cast(arrivals.anonymous_key as bigint) as anonymous_key,
        cast(arrivals.account_key as bigint) as account_key,
        cast(arrivals.bucket as bigint) as bucket,
        cast(arrivals.id_hash as bigint) as id_hash,
        cast(arrivals.loaded_at as timestamp) as loaded_at,
        cast(arrivals.load_id as bigint) as load_id,
        cast(arrivals.occurred_date as date) as occurred_date
    from arrivals

),

written as (

    {{ with_untouched_rows('final', ref('event_arrivals')) }}

)

select * from written
