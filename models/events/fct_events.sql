{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key=['source', 'event_id'], on_schema_change='fail') }}

with checked_events as (

    select * from {{ ref('checked_events') }}

),

catalog_rules as (

    select * from {{ ref('catalog_rules') }}

),

new_events as (

    select
        checked_events.*,
        coalesce(checked_events.received_at, checked_events.occurred_at) as first_known_at,
        row_number() over (
            partition by checked_events.source, checked_events.event_id
            order by
                coalesce(checked_events.received_at, checked_events.occurred_at) asc nulls last,
                checked_events.content_hash asc nulls last,
                checked_events.load_id asc nulls last
        ) as version_rank
    from checked_events
    where
        checked_events.quarantine_reason is null
        and checked_events.load_id > {{ loaded_after() }}

),

stored as (

    {%- if is_incremental() %}

    select
        source,
        event_id,
        received_at,
        content_hash
    from {{ this }}

    {%- else %}

    select
        cast(null as string) as source,
        cast(null as string) as event_id,
        cast(null as timestamp) as received_at,
        cast(null as string) as content_hash

    {%- endif %}

),

-- First received wins: a version that arrives later replaces the stored one only when it was received earlier.
winners as (

    select new_events.*
    from new_events
    left join stored
        on
            new_events.event_id = stored.event_id
            and new_events.source = stored.source
    where
        new_events.version_rank = 1
        and (
            stored.event_id is null
            or new_events.first_known_at < stored.received_at
            or (new_events.first_known_at = stored.received_at and new_events.content_hash < stored.content_hash)
        )

),

-- At most one row a source and event name; the empty source stands for any.
name_rules as (

    select * from catalog_rules
    where catalog_rules.property = ''

),

-- Only events whose name has a rule on a property pay for reading their properties.
property_matches as (

    select
        winners.source,
        winners.event_id,
        property_rules.behaviour,
        property_rules.feature,
        property_rules.step,
        property_rules.outcome,
        row_number() over (
            partition by winners.source, winners.event_id
            order by
                property_rules.source desc nulls last,
                case property_rules.match when 'equals' then 1 when 'prefix' then 2 else 3 end asc,
                length(property_rules.pattern) desc nulls last,
                property_rules.property asc nulls last,
                property_rules.pattern asc nulls last
        ) as match_rank
    from winners
    inner join catalog_rules as property_rules
        on
            winners.event_name = property_rules.event_name
            and property_rules.source in ('', winners.source)
            and property_rules.property != ''
    where
        (
            property_rules.match = 'equals'
            and {{ json_text('winners.properties', 'property_rules.property') }} = property_rules.pattern
        )
        or (
            property_rules.match = 'prefix'
            and substring(
                {{ json_text('winners.properties', 'property_rules.property') }}, 1, length(property_rules.pattern)
            ) = property_rules.pattern
        )
        or (
            property_rules.match = ''
            and {{ json_text('winners.properties', 'property_rules.property') }} is not null
        )

),

mapped as (

    select
        cast(winners.event_id as string) as event_id,
        cast(coalesce(winners.event_type, 'track') as string) as event_type,
        cast(winners.event_name as string) as event_name,
        cast(winners.occurred_at as timestamp) as occurred_at,
        cast(winners.first_known_at as timestamp) as received_at,
        cast(nullif(winners.user_id, '') as string) as user_id,
        cast(nullif(winners.anonymous_id, '') as string) as anonymous_id,
        cast(winners.account_id as string) as account_id,
        cast(winners.native_session_id as string) as native_session_id,
        cast(coalesce(property_matches.behaviour, own_rules.behaviour, any_rules.behaviour, '') as string) as behaviour,
        cast(coalesce(property_matches.feature, own_rules.feature, any_rules.feature, '') as string) as feature,
        cast(coalesce(property_matches.step, own_rules.step, any_rules.step, '') as string) as step,
        cast(coalesce(property_matches.outcome, own_rules.outcome, any_rules.outcome, '') as string) as outcome,
        cast(winners.source as string) as source,
        cast(winners.content_hash as string) as content_hash,
        cast(winners.loaded_at as timestamp) as loaded_at,
        cast(winners.load_id as bigint) as load_id
    from winners
    left join property_matches
        on
            winners.event_id = property_matches.event_id
            and winners.source = property_matches.source
            and property_matches.match_rank = 1
    left join name_rules as own_rules
        on
            winners.event_name = own_rules.event_name
            and winners.source = own_rules.source
    left join name_rules as any_rules
        on
            winners.event_name = any_rules.event_name
            and any_rules.source = ''

)

select * from mapped
