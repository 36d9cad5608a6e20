with new_activity as (

    select * from {{ ref('new_activity') }}

),

replaced_events as (

    select * from {{ ref('replaced_events') }}

),

owner_moves as (

    select * from {{ ref('owner_moves') }}

),


dirty as (

    select
        new_activity.node_key,
        new_activity.bucket
    from new_activity
    union all
    select
        replaced_events.node_key,
        replaced_events.bucket
    from replaced_events
    where replaced_events.since_watermark = {{ since_watermark() }}
    union all
    -- A bucket is cut where its device gets another user.
    select
        owner_moves.node_key,
        {{ bucket_number('owner_moves.moved_from', var('session_gap_minutes')) }} as bucket
    from owner_moves
    where
        owner_moves.cause = 'link'
        and owner_moves.moved_from > {{ beginning_of_time() }}
        and owner_moves.since_watermark = {{ since_watermark() }}

),

final as (

    select distinct
        cast(dirty.node_key as bigint) as node_key,
        cast(dirty.bucket as bigint) as bucket,
        cast({{ bucket_start('dirty.bucket', var('session_gap_minutes')) }} as date) as bucket_date
    from dirty
    where {{ in_increment() }}

)

select * from final
