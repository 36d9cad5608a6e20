{%- set event_log = stored('events', 'event_log') -%}

with candidate_events as (

    select * from {{ ref('candidate_events') }}
    where {{ in_increment() }}

),

event_kinds as (

    select * from {{ ref('event_kinds') }}

),

-- The one look at all history: is an id known? It reads one column of hashes.
known as (

    {%- if event_log %}

    select
        found.event_id,
        found.received_at,
        found.load_id,
        found.kind_key,
        event_kinds.source
    from ({{ filter_by_keys(event_log, 'id_hash', 'select candidate_events.id_hash from candidate_events') }}) as found
    inner join event_kinds on found.kind_key = event_kinds.kind_key

    {%- else %}

    select
        candidate_events.event_id,
        candidate_events.received_at,
        candidate_events.load_id,
        candidate_events.kind_key,
        candidate_events.source
    from candidate_events
    where false

    {%- endif %}

),

compared as (

    select
        candidate_events.*,
        known.load_id as known_load_id,
        known.kind_key as replaced_kind_key,
        coalesce(candidate_events.received_at = known.received_at, false) as is_tie
    from candidate_events
    left join known
        on
            candidate_events.event_id = known.event_id
            and candidate_events.source = known.source
    where known.event_id is null or candidate_events.received_at <= known.received_at

),

ties as (

    select * from compared
    where compared.is_tie

),

checked_events as (

    select * from {{ ref('checked_events') }}

),

-- The stored version is the least of all that had come by then; of ties, which are rare, the raw rows are read again.
tying_versions as (

    select checked_events.*
    from checked_events
    inner join ties
        on
            checked_events.event_id = ties.event_id
            and checked_events.source = ties.source
            and checked_events.received_at = ties.received_at
            and checked_events.load_id <= ties.known_load_id
    where
        checked_events.quarantine_reason is null
        and not checked_events.is_own_delivery

),

stored_hashes as (

    select
        tying_versions.source,
        tying_versions.event_id,
        min({{ event_hash('tying_versions') }}) as event_hash
    from tying_versions
    group by tying_versions.source, tying_versions.event_id

),

-- First received wins: a version that arrives later replaces the stored one only when it was received earlier.
arrivals as (

    select
        cast(compared.event_id as string) as event_id,
        cast(compared.occurred_at as timestamp) as occurred_at,
        cast(compared.received_at as timestamp) as received_at,
        cast(compared.previous_id as string) as previous_id,
        cast(compared.native_session_id as string) as native_session_id,
        cast(compared.kind_key as bigint) as kind_key,
        cast(compared.rule_key as bigint) as rule_key,
        cast(compared.is_bot as boolean) as is_bot,
        cast(compared.is_identified as boolean) as is_identified,
        cast(compared.node_key as bigint) as node_key,
        cast(compared.anonymous_key as bigint) as anonymous_key,
        cast(compared.account_key as bigint) as account_key,
        cast(compared.bucket as bigint) as bucket,
        cast(compared.id_hash as bigint) as id_hash,
        cast(compared.loaded_at as timestamp) as loaded_at,
        cast(compared.load_id as bigint) as load_id,
        cast(compared.occurred_date as date) as occurred_date,
        cast(compared.source as string) as source,
        cast(compared.replaced_kind_key as bigint) as replaced_kind_key
    from compared
    left join stored_hashes
        on
            compared.event_id = stored_hashes.event_id
            and compared.source = stored_hashes.source
    where not compared.is_tie or {{ event_hash('compared') }} < stored_hashes.event_hash

)

select * from arrivals
