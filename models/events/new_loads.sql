with checked_events as (

    select * from {{ ref('checked_events') }}

),

loads as (

    select
        cast(checked_events.load_id as bigint) as load_id,
        cast(count(*) as bigint) as row_count
    from checked_events
    where checked_events.load_id > {{ loaded_after() }}
    group by checked_events.load_id

)

select * from loads
