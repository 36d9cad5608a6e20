{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='load_id', on_schema_change='fail') }}

with checked_events as (

    select * from {{ ref('checked_events') }}

),

quarantined as (

    select
        cast(checked_events.event_id as string) as event_id,
        cast(checked_events.event_name as string) as event_name,
        cast(checked_events.occurred_at as timestamp) as occurred_at,
        cast(checked_events.user_id as string) as user_id,
        cast(checked_events.anonymous_id as string) as anonymous_id,
        cast(checked_events.properties as string) as properties,
        cast(checked_events.source as string) as source,
        cast(checked_events.loaded_at as timestamp) as loaded_at,
        cast(checked_events.load_id as bigint) as load_id,
        cast(checked_events.quarantine_reason as string) as quarantine_reason
    from checked_events
    where
        checked_events.quarantine_reason is not null
        and checked_events.load_id > {{ loaded_after() }}

)

select * from quarantined
