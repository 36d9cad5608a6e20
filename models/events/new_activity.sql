with newly_loaded as (

    select * from {{ ref('visible_events') }}
    where load_id > {{ loaded_after() }}

),

-- Loaded earlier, but not yet before the clock of the last refresh.
newly_passed as (

    select * from {{ ref('visible_events') }}
    where
        load_id <= {{ loaded_after() }}
        and occurred_at >= cast('{{ var("previous_as_of", none) or "9999-12-31" }}' as timestamp)

),

-- Two branches, each with one bound, so that an engine can skip what is old.
fresh as (

    select * from newly_loaded
    union all
    select * from newly_passed

),

final as (

    select
        cast(fresh.source as string) as source,
        cast(fresh.event_id as string) as event_id,
        cast(fresh.event_type as string) as event_type,
        cast(fresh.occurred_at as timestamp) as occurred_at,
        cast(fresh.user_id as string) as user_id,
        cast(fresh.account_id as string) as account_id,
        cast(fresh.node_key as bigint) as node_key,
        cast(fresh.anonymous_key as bigint) as anonymous_key,
        cast(fresh.bucket as bigint) as bucket
    from fresh
    where {{ in_increment() }}

)

select * from final
