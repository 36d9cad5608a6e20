{{ config(materialized=in_place('view')) }}

with alias_events as (

    select * from {{ ref('alias_events') }}

),

touched_merges as (

    select * from {{ ref('touched_merges') }}

),

-- Two users are merged by an explicit alias only, never by a device that they share.
edges as (

    select distinct
        alias_events.previous_user_key,
        alias_events.user_key
    from alias_events
    where
        alias_events.previous_user_key != alias_events.user_key
        and {{ unless_rebuilding(
            'alias_events.user_key in (select touched_merges.user_key from touched_merges)'
            ~ ' or alias_events.previous_user_key in (select touched_merges.user_key from touched_merges)'
        ) }}

),

final as (

    select
        cast(edges.previous_user_key as bigint) as from_key,
        cast(edges.user_key as bigint) as to_key,
        true as is_former
    from edges
    union all
    select
        cast(edges.user_key as bigint) as from_key,
        cast(edges.previous_user_key as bigint) as to_key,
        false as is_former
    from edges

)

select * from final
