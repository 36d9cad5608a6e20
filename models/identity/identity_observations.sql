{{ config(materialized=in_place('view')) }}

with visible_events as (

    select * from {{ ref('visible_events') }}

),

alias_events as (

    select * from {{ ref('alias_events') }}

),

observed as (

    select
        cast(visible_events.anonymous_key as bigint) as anonymous_key,
        cast(visible_events.node_key as bigint) as user_key,
        cast(visible_events.occurred_at as timestamp) as occurred_at
    from visible_events
    where visible_events.is_identified and visible_events.anonymous_key is not null
    union all
    select
        cast(alias_events.previous_anonymous_key as bigint) as anonymous_key,
        cast(alias_events.user_key as bigint) as user_key,
        cast(alias_events.occurred_at as timestamp) as occurred_at
    from alias_events

)

select * from observed
