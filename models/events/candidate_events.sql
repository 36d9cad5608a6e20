{{ config(materialized='view') }}

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

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

repeated_ids as (

    select new_ids.id_hash
    from new_ids
    group by new_ids.id_hash
    having count(*) > 1

),

-- Ranking is dear, and nearly every id comes once: only versions of an id that may be repeated are ranked.
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
                {{ content_hash('repeated_versions') }} asc nulls last,
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

-- At most one row a source and event name; the empty source stands for any.
name_rules as (

    select * from catalog_rules
    where catalog_rules.property = ''

),

user_nodes as (

    select * from identity_nodes
    where identity_nodes.node_type = 'user'

),

anonymous_nodes as (

    select * from identity_nodes
    where identity_nodes.node_type = 'anonymous'

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
        cast(coalesce(new_event_meanings.behaviour, own_rules.behaviour, any_rules.behaviour, '') as string) as behaviour,
        cast(coalesce(new_event_meanings.feature, own_rules.feature, any_rules.feature, '') as string) as feature,
        cast(coalesce(new_event_meanings.step, own_rules.step, any_rules.step, '') as string) as step,
        cast(coalesce(new_event_meanings.outcome, own_rules.outcome, any_rules.outcome, '') as string) as outcome,
        cast(versions.is_bot as boolean) as is_bot,
        cast(coalesce(user_nodes.node_key, anonymous_nodes.node_key) as bigint) as node_key,
        cast(anonymous_nodes.node_key as bigint) as anonymous_key,
        cast({{ bucket_number('versions.occurred_at', var('session_gap_minutes')) }} as bigint) as bucket,
        cast(versions.source as string) as source,
        cast(versions.properties as string) as properties,
        cast(versions.context as string) as context,
        cast(versions.loaded_at as timestamp) as loaded_at,
        cast(versions.load_id as bigint) as load_id,
        cast(versions.occurred_at as date) as occurred_date
    from versions
    left join user_nodes on versions.user_id = user_nodes.node_id
    left join anonymous_nodes on versions.anonymous_id = anonymous_nodes.node_id
    left join new_event_meanings
        on
            versions.event_id = new_event_meanings.event_id
            and versions.source = new_event_meanings.source
            and versions.properties = new_event_meanings.properties
    left join name_rules as own_rules
        on
            versions.event_name = own_rules.event_name
            and versions.source = own_rules.source
    left join name_rules as any_rules
        on
            versions.event_name = any_rules.event_name
            and any_rules.source = ''

)

select * from mapped
