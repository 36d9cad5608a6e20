{{ config(materialized=in_place('incremental'), incremental_strategy='append') }}

with new_events as (

    select * from {{ ref('new_events') }}

),

first_loads as (

    select
        new_events.source,
        new_events.event_type,
        new_events.event_name,
        min(new_events.load_id) as first_load_id
    from new_events
    group by new_events.source, new_events.event_type, new_events.event_name

),

{% if is_incremental() %}
known as (

    select
        stored.source,
        stored.event_type,
        stored.event_name,
        stored.kind_key
    from {{ this }} as stored

),

unknown as (

    select first_loads.*
    from first_loads
    left join known
        on
            first_loads.source = known.source
            and first_loads.event_type = known.event_type
            and first_loads.event_name = known.event_name
    where known.kind_key is null

),

last_key as (

    select coalesce(max(known.kind_key), 0) as kind_key
    from known

),
{% else %}
unknown as (

    select * from first_loads

),

last_key as (

    select 0 as kind_key

),
{% endif %}

-- Numbered in the order of loads, so that keys are the same however the loads were cut into refreshes.
numbered as (

    select
        cast(
            last_key.kind_key + row_number() over (
                order by
                    unknown.first_load_id asc nulls last, unknown.source asc nulls last,
                    unknown.event_type asc nulls last, unknown.event_name asc nulls last
            ) as bigint
        ) as kind_key,
        cast(unknown.source as string) as source,
        cast(unknown.event_type as string) as event_type,
        cast(unknown.event_name as string) as event_name
    from unknown
    cross join last_key

)

select * from numbered
