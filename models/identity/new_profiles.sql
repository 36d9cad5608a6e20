with fct_events as (

    select * from {{ ref('fct_events') }}

),

replaced_events as (

    select * from {{ ref('replaced_events') }}

),

new_events as (

    select * from {{ ref('new_events') }}

),


said as (

    select * from new_events
    where
        new_events.event_type in ('identify', 'group')
        and new_events.properties is not null

),

-- Of versions that tie in everything else the least hash has won.
ranked as (

    select
        said.*,
        row_number() over (
            partition by said.source, said.event_id, said.load_id, said.received_at, said.event_type
            order by {{ content_hash('said') }} asc nulls last
        ) as version_rank
    from said

),

-- The winners among what this run loaded (also in a try that was cut off); properties are read from the raw rows.
winners as (

    select
        cast(fct_events.source as string) as source,
        cast(fct_events.event_id as string) as event_id,
        cast(fct_events.event_type as string) as event_type,
        cast(fct_events.node_key as bigint) as node_key,
        cast(fct_events.account_id as string) as account_id,
        cast(fct_events.occurred_at as timestamp) as occurred_at,
        cast(ranked.properties as string) as properties,
        cast(fct_events.load_id as bigint) as load_id
    from fct_events
    inner join ranked
        on
            fct_events.event_id = ranked.event_id
            and fct_events.source = ranked.source
            and fct_events.load_id = ranked.load_id
            and fct_events.received_at = ranked.received_at
            and fct_events.event_type = ranked.event_type
    where
        fct_events.load_id > {{ loaded_after() }}
        and not fct_events.is_bot
        and ranked.version_rank = 1

),

-- An event that lost its place says nothing any more, whatever the event is that took it.
profiles as (

    select * from winners
    union all
    select distinct
        replaced_events.source,
        replaced_events.event_id,
        '' as event_type,
        cast(null as bigint) as node_key,
        cast(null as string) as account_id,
        cast(null as timestamp) as occurred_at,
        cast(null as string) as properties,
        cast(null as bigint) as load_id
    from replaced_events
    where replaced_events.since_watermark = {{ since_watermark() }}

)

select * from profiles
