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
        cast(fresh.event_id as string) as event_id,
        cast(fresh.occurred_at as timestamp) as occurred_at,
        cast(fresh.kind_key as bigint) as kind_key,
        cast(fresh.is_identified as boolean) as is_identified,
        cast(fresh.node_key as bigint) as node_key,
        cast(fresh.anonymous_key as bigint) as anonymous_key,
        cast(fresh.account_key as bigint) as account_key,
        cast(fresh.bucket as bigint) as bucket
    from fresh
    where {{ in_increment() }}

)

select * from final
