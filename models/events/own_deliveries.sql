{{ config(
    materialized=in_place('incremental'),
    partition_by='load_id',
    meta={'replaces': {
        'dirty': 'unfinished_loads',
        'condition': 'dirty.load_id = stored.load_id',
    }},
) }}

with checked_events as (

    select * from {{ ref('checked_events') }}

),

own as (

    select * from checked_events
    where
        checked_events.is_own_delivery
        {%- if is_incremental() %}
        and checked_events.load_id > {{ loaded_after() }}
        {%- endif %}

),

final as (

    select
        cast(own.event_id as string) as event_id,
        cast(own.event_type as string) as event_type,
        cast(own.event_name as string) as event_name,
        cast(own.occurred_at as timestamp) as occurred_at,
        cast(own.user_id as string) as user_id,
        cast(own.anonymous_id as string) as anonymous_id,
        cast(own.account_id as string) as account_id,
        cast(own.source as string) as source,
        cast(own.loaded_at as timestamp) as loaded_at,
        cast(own.load_id as bigint) as load_id
    from own

),

written as (

    {{ with_untouched_rows('final', ref('unfinished_loads')) }}

)

select * from written
