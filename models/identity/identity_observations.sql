{{ config(materialized='view') }}

with touched_devices as (

    select * from {{ ref('touched_devices') }}

),

seen as (

    {%- if rebuilding() %}

    select * from {{ ref('event_log') }}

    {%- else %}

    {{ rows_among(ref('event_log'), 'anonymous_key', 'select touched_devices.anonymous_key from touched_devices') }}

    {%- endif %}

),

alias_events as (

    select * from {{ ref('alias_events') }}

),

observed as (

    select
        cast(seen.anonymous_key as bigint) as anonymous_key,
        cast(seen.node_key as bigint) as user_key,
        cast(seen.occurred_at as timestamp) as occurred_at
    from seen
    where
        seen.is_identified
        and seen.anonymous_key is not null
        and {{ is_visible('seen') }}
    union all
    select
        cast(alias_events.previous_anonymous_key as bigint) as anonymous_key,
        cast(alias_events.user_key as bigint) as user_key,
        cast(alias_events.occurred_at as timestamp) as occurred_at
    from alias_events
    where {{ unless_rebuilding(
        'alias_events.previous_anonymous_key in (select touched_devices.anonymous_key from touched_devices)'
    ) }}

)

select * from observed
