{{ config(materialized=in_place('view')) }}

-- Read once for each use: what a query reads twice by one name, an engine may write out first, as a whole.
with new_ids as (

    select {{ fast_hash('event_id') }} as id_hash
    from {{ ref('checked_events') }}
    where load_id > {{ loaded_after() }}

),

repeated_events as (

    select * from {{ ref('new_events') }}

),

new_events as (

    select * from {{ ref('new_events') }}

),

new_event_meanings as (

    select * from {{ ref('new_event_meanings') }}

),

catalog_rules as (

    select * from {{ ref('catalog_rules') }}

),

event_kinds as (

    select * from {{ ref('event_kinds') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

repeated_ids as (

    select new_ids.id_hash
    from new_ids
    group by new_ids.id_hash
    having count(*) > 1

),

-- Ranking is expensive, and nearly every id comes once: only versions of an id that may be repeated are ranked.
repeated_versions as (

    select repeated_events.*
    from repeated_events
    inner join repeated_ids on {{ fast_hash('repeated_events.event_id') }} = repeated_ids.id_hash

),

ranked_versions as (

    select
        repeated_versions.*,
        row_number() over (
            partition by repeated_versions.source, repeated_versions.event_id
            order by
                repeated_versions.received_at asc nulls last,
                {{ event_hash('repeated_versions') }} asc nulls last,
                repeated_versions.load_id asc nulls last
        ) as version_rank
    from repeated_versions

),

versions as (

    select
        new_events.*,
        1 as version_rank
    from new_events
    left join repeated_ids on {{ fast_hash('new_events.event_id') }} = repeated_ids.id_hash
    where repeated_ids.id_hash is null
    union all
    select * from ranked_versions
    where ranked_versions.version_rank = 1

),

name_rules as (

    select * from catalog_rules
    where catalog_rules.property = ''

),

-- Rules are numbered by precedence.
ruled_kinds as (

    select
        event_kinds.source,
        event_kinds.event_type,
        event_kinds.event_name,
        event_kinds.kind_key,
        min(name_rules.rule_key) as rule_key
    from event_kinds
    left join name_rules
        on
            event_kinds.event_name = name_rules.event_name
            and name_rules.source in ('', event_kinds.source)
    group by event_kinds.source, event_kinds.event_type, event_kinds.event_name, event_kinds.kind_key

),

user_nodes as (

    select * from identity_nodes
    where identity_nodes.node_type = 'user'

),

anonymous_nodes as (

    select * from identity_nodes
    where identity_nodes.node_type = 'anonymous'

),

account_nodes as (

    select * from identity_nodes
    where identity_nodes.node_type = 'account'

),

mapped as (

    select
        cast(versions.event_id as string) as event_id,
        cast(versions.event_type as string) as event_type,
        cast(versions.event_name as string) as event_name,
        cast(versions.occurred_at as timestamp) as occurred_at,
        cast(versions.received_at as timestamp) as received_at,
        cast(versions.user_id as string) as user_id,
        cast(versions.anonymous_id as string) as anonymous_id,
        cast(versions.previous_id as string) as previous_id,
        cast(versions.account_id as string) as account_id,
        cast(versions.native_session_id as string) as native_session_id,
        cast(ruled_kinds.kind_key as bigint) as kind_key,
        cast(coalesce(new_event_meanings.rule_key, ruled_kinds.rule_key) as bigint) as rule_key,
        cast(versions.is_bot as boolean) as is_bot,
        cast(versions.user_id is not null as boolean) as is_identified,
        cast(coalesce(user_nodes.node_key, anonymous_nodes.node_key) as bigint) as node_key,
        cast(anonymous_nodes.node_key as bigint) as anonymous_key,
        cast(account_nodes.node_key as bigint) as account_key,
        cast({{ bucket_number('versions.occurred_at', var('session_gap_minutes')) }} as bigint) as bucket,
        cast({{ fast_hash('versions.event_id') }} as bigint) as id_hash,
        cast(versions.source as string) as source,
        cast(versions.properties as string) as properties,
        cast(versions.context as string) as context,
        cast(versions.loaded_at as timestamp) as loaded_at,
        cast(versions.load_id as bigint) as load_id,
        cast(versions.occurred_at as date) as occurred_date
    from versions
    left join user_nodes on versions.user_id = user_nodes.node_id
    left join anonymous_nodes on versions.anonymous_id = anonymous_nodes.node_id
    left join account_nodes on versions.account_id = account_nodes.node_id
    left join ruled_kinds
        on
            versions.event_name = ruled_kinds.event_name
            and versions.event_type = ruled_kinds.event_type
            and versions.source = ruled_kinds.source
    left join new_event_meanings
        on
            versions.event_id = new_event_meanings.event_id
            and versions.source = new_event_meanings.source
            and versions.event_name = new_event_meanings.event_name
            and versions.properties = new_event_meanings.properties

)

select * from mapped
