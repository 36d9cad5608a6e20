{{ config(materialized=in_place('incremental'), incremental_strategy='append') }}

with new_events as (

    select * from {{ ref('new_events') }}

),

-- The same ids come together again and again.
combinations as (

    select
        new_events.user_id,
        new_events.anonymous_id,
        new_events.account_id,
        case when new_events.event_type = 'alias' then new_events.previous_id end as previous_id,
        min(new_events.load_id) as load_id
    from new_events
    group by
        new_events.user_id,
        new_events.anonymous_id,
        new_events.account_id,
        case when new_events.event_type = 'alias' then new_events.previous_id end

),

-- The former id of an alias may be a user's or a device's: both are known from then on.
ids as (

    select
        'user' as node_type,
        combinations.user_id as node_id,
        combinations.load_id
    from combinations
    where combinations.user_id is not null
    union all
    select
        'anonymous' as node_type,
        combinations.anonymous_id as node_id,
        combinations.load_id
    from combinations
    where combinations.anonymous_id is not null
    union all
    select
        'account' as node_type,
        combinations.account_id as node_id,
        combinations.load_id
    from combinations
    where combinations.account_id is not null
    union all
    select
        'user' as node_type,
        combinations.previous_id as node_id,
        combinations.load_id
    from combinations
    where combinations.previous_id is not null
    union all
    select
        'anonymous' as node_type,
        combinations.previous_id as node_id,
        combinations.load_id
    from combinations
    where combinations.previous_id is not null

),

first_loads as (

    select
        ids.node_type,
        ids.node_id,
        min(ids.load_id) as first_load_id
    from ids
    group by ids.node_type, ids.node_id

),

{% if is_incremental() %}
known as (

    select
        stored.node_type,
        stored.node_id,
        stored.node_key
    from {{ this }} as stored

),

unknown as (

    select first_loads.*
    from first_loads
    left join known
        on
            first_loads.node_type = known.node_type
            and first_loads.node_id = known.node_id
    where known.node_key is null

),

last_key as (

    select coalesce(max(known.node_key), 0) as node_key
    from known

),
{% else %}
unknown as (

    select * from first_loads

),

last_key as (

    select 0 as node_key

),
{% endif %}

-- Numbered in the order of loads, so that keys are the same however the loads were cut into refreshes.
numbered as (

    select
        cast(
            last_key.node_key + row_number() over (
                order by
                    unknown.first_load_id asc nulls last, unknown.node_type asc nulls last, unknown.node_id asc nulls last
            ) as bigint
        ) as node_key,
        cast(unknown.node_type as string) as node_type,
        cast(unknown.node_id as string) as node_id,
        cast(unknown.first_load_id as bigint) as first_load_id
    from unknown
    cross join last_key

)

select * from numbered
