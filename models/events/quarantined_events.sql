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

quarantined as (

    select * from checked_events
    where
        checked_events.quarantine_reason is not null
        {%- if is_incremental() %}
        and checked_events.load_id > {{ loaded_after() }}
        {%- endif %}

),

final as (

    select
        cast(quarantined.event_id as string) as event_id,
        cast(quarantined.event_name as string) as event_name,
        cast(quarantined.occurred_at as timestamp) as occurred_at,
        cast(quarantined.user_id as string) as user_id,
        cast(quarantined.anonymous_id as string) as anonymous_id,
        cast(quarantined.properties as string) as properties,
        cast(quarantined.source as string) as source,
        cast(quarantined.loaded_at as timestamp) as loaded_at,
        cast(quarantined.quarantine_reason as string) as quarantine_reason,
        cast(quarantined.load_id as bigint) as load_id
    from quarantined

),

written as (

    {{ with_untouched_rows('final', ref('unfinished_loads')) }}

)

select * from written
