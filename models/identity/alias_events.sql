{{ config(materialized=in_place('view')) }}

with visible_events as (

    select * from {{ ref('visible_events') }}

),

event_kinds as (

    select * from {{ ref('event_kinds') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

aliases as (

    select
        cast(event_kinds.source as string) as source,
        cast(visible_events.event_id as string) as event_id,
        cast(visible_events.occurred_at as timestamp) as occurred_at,
        cast(visible_events.load_id as bigint) as load_id,
        cast(visible_events.node_key as bigint) as user_key,
        cast(former_users.node_key as bigint) as previous_user_key,
        cast(former_devices.node_key as bigint) as previous_anonymous_key
    from visible_events
    inner join event_kinds on visible_events.kind_key = event_kinds.kind_key
    inner join identity_nodes as former_users
        on
            visible_events.previous_id = former_users.node_id
            and former_users.node_type = 'user'
    inner join identity_nodes as former_devices
        on
            visible_events.previous_id = former_devices.node_id
            and former_devices.node_type = 'anonymous'
    where
        event_kinds.event_type = 'alias'
        and visible_events.previous_id is not null
        and visible_events.is_identified

)

select * from aliases
