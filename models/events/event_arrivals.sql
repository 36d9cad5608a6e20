{%- set fct_events = stored('events', 'fct_events') -%}

with candidate_events as (

    select * from {{ ref('candidate_events') }}
    where {{ in_increment() }}

),

-- The one look at all history: is an id known? It reads one column of ids.
known as (

    {%- if fct_events %}

    select
        fct_events.source,
        fct_events.event_id,
        fct_events.received_at,
        fct_events.load_id
    from {{ fct_events }} as fct_events
    where fct_events.event_id in (select candidate_events.event_id from candidate_events)

    {%- else %}

    select
        candidate_events.source,
        candidate_events.event_id,
        candidate_events.received_at,
        candidate_events.load_id
    from candidate_events
    where false

    {%- endif %}

),

compared as (

    select
        candidate_events.*,
        known.load_id as known_load_id,
        known.event_id is not null as is_replacement,
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
    where checked_events.quarantine_reason is null

),

stored_hashes as (

    select
        tying_versions.source,
        tying_versions.event_id,
        min({{ content_hash('tying_versions') }}) as content_hash
    from tying_versions
    group by tying_versions.source, tying_versions.event_id

),

-- First received wins: a version that arrives later replaces the stored one only when it was received earlier.
arrivals as (

    select
        cast(compared.event_id as string) as event_id,
        cast(compared.event_type as string) as event_type,
        cast(compared.event_name as string) as event_name,
        cast(compared.occurred_at as timestamp) as occurred_at,
        cast(compared.received_at as timestamp) as received_at,
        cast(compared.user_id as string) as user_id,
        cast(compared.anonymous_id as string) as anonymous_id,
        cast(compared.previous_id as string) as previous_id,
        cast(compared.account_id as string) as account_id,
        cast(compared.native_session_id as string) as native_session_id,
        cast(compared.behaviour as string) as behaviour,
        cast(compared.feature as string) as feature,
        cast(compared.step as string) as step,
        cast(compared.outcome as string) as outcome,
        cast(compared.is_bot as boolean) as is_bot,
        cast(compared.node_key as bigint) as node_key,
        cast(compared.anonymous_key as bigint) as anonymous_key,
        cast(compared.bucket as bigint) as bucket,
        cast(compared.source as string) as source,
        cast(compared.loaded_at as timestamp) as loaded_at,
        cast(compared.load_id as bigint) as load_id,
        cast(compared.occurred_date as date) as occurred_date,
        cast(compared.is_replacement as boolean) as is_replacement
    from compared
    left join stored_hashes
        on
            compared.event_id = stored_hashes.event_id
            and compared.source = stored_hashes.source
    where not compared.is_tie or {{ content_hash('compared') }} < stored_hashes.content_hash

)

select * from arrivals
