with event_log as (

    select * from {{ ref('event_log') }}

),

event_kinds as (

    select * from {{ ref('event_kinds') }}

),

replaced_events as (

    select * from {{ ref('replaced_events') }}

),

new_events as (

    select * from {{ ref('new_events') }}

),

said as (

    select * from new_events
    where {{ says_profile('new_events') }}

),

-- Of versions that tie in everything else the least hash has won.
ranked as (

    select
        said.*,
        row_number() over (
            partition by said.source, said.event_id, said.load_id, said.received_at, said.event_type
            order by {{ event_hash('said') }} asc nulls last
        ) as version_rank
    from said

),

-- The winners among what this run loaded (also in a try that was cut off); properties are read from the raw rows.
winners as (

    select
        cast(ranked.source as string) as source,
        cast(event_log.event_id as string) as event_id,
        cast(ranked.event_type as string) as event_type,
        cast(event_log.node_key as bigint) as node_key,
        cast(ranked.account_id as string) as account_id,
        cast(event_log.occurred_at as timestamp) as occurred_at,
        cast(ranked.properties as string) as properties,
        cast(event_log.load_id as bigint) as load_id
    from event_log
    inner join event_kinds on event_log.kind_key = event_kinds.kind_key
    inner join ranked
        on
            event_log.event_id = ranked.event_id
            and event_log.load_id = ranked.load_id
            and event_log.received_at = ranked.received_at
            and event_kinds.source = ranked.source
            and event_kinds.event_type = ranked.event_type
    where
        event_log.load_id > {{ loaded_after() }}
        and not event_log.is_bot
        and ranked.version_rank = 1
        and ranked.properties is not null

),

-- An event that was replaced says nothing any more, whatever replaced it.
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
