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
        fct_events.content_hash
    from {{ fct_events }} as fct_events
    where fct_events.event_id in (select candidate_events.event_id from candidate_events)

    {%- else %}

    select
        candidate_events.source,
        candidate_events.event_id,
        candidate_events.received_at,
        candidate_events.content_hash
    from candidate_events
    where false

    {%- endif %}

),

-- First received wins: a version that arrives later replaces the stored one only when it was received earlier.
arrivals as (

    select
        candidate_events.*,
        known.event_id is not null as is_replacement
    from candidate_events
    left join known
        on
            candidate_events.event_id = known.event_id
            and candidate_events.source = known.source
    where
        known.event_id is null
        or candidate_events.received_at < known.received_at
        or (candidate_events.received_at = known.received_at and candidate_events.content_hash < known.content_hash)

)

select * from arrivals
