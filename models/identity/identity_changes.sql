{{ config(materialized=in_place('view')) }}

with identity_links as (

    select * from {{ ref('identity_links') }}

),

identity_merges as (

    select * from {{ ref('identity_merges') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

alias_events as (

    select * from {{ ref('alias_events') }}

),

-- An id that is also a user's was that user's before any link.
same_ids as (

    select
        device_nodes.node_key as anonymous_key,
        user_nodes.node_key as user_key
    from identity_nodes as device_nodes
    inner join identity_nodes as user_nodes on device_nodes.node_id = user_nodes.node_id
    where device_nodes.node_type = 'anonymous' and user_nodes.node_type = 'user'

),

-- Of two links that begin at one instant the later one is the change.
link_changes as (

    select
        identity_links.anonymous_key,
        identity_links.identified_at as changed_at,
        identity_links.user_key,
        identity_links.cause,
        row_number() over (
            partition by identity_links.anonymous_key, identity_links.identified_at
            order by identity_links.valid_from desc nulls last
        ) as change_rank
    from identity_links
    where identity_links.cause != 'same_id'

),

-- Who owned a device before each of its links: the user of the link before it, or nobody yet.
previous_links as (

    select
        link_changes.*,
        coalesce(
            lag(link_changes.user_key) over (
                partition by link_changes.anonymous_key order by link_changes.changed_at asc nulls last
            ),
            same_ids.user_key,
            link_changes.anonymous_key
        ) as previous_user_key
    from link_changes
    left join same_ids on link_changes.anonymous_key = same_ids.anonymous_key
    where link_changes.change_rank = 1

),

resolved as (

    select
        previous_links.anonymous_key,
        previous_links.changed_at,
        previous_links.cause,
        coalesce(new_merges.canonical_key, previous_links.user_key) as new_user_key,
        coalesce(old_merges.canonical_key, previous_links.previous_user_key) as old_user_key
    from previous_links
    left join identity_merges as new_merges on previous_links.user_key = new_merges.user_key
    left join identity_merges as old_merges on previous_links.previous_user_key = old_merges.user_key

),

aliased as (

    select
        named.user_key,
        min(named.occurred_at) as changed_at
    from (
        select
            alias_events.user_key,
            alias_events.occurred_at
        from alias_events
        where alias_events.previous_user_key != alias_events.user_key
        union all
        select
            alias_events.previous_user_key as user_key,
            alias_events.occurred_at
        from alias_events
        where alias_events.previous_user_key != alias_events.user_key
    ) as named
    group by named.user_key

),

changes as (

    select
        device_nodes.node_type,
        device_nodes.node_id,
        resolved.changed_at,
        old_nodes.node_id as old_user_id,
        new_nodes.node_id as new_user_id,
        resolved.cause
    from resolved
    inner join identity_nodes as device_nodes on resolved.anonymous_key = device_nodes.node_key
    inner join identity_nodes as new_nodes on resolved.new_user_key = new_nodes.node_key
    inner join identity_nodes as old_nodes on resolved.old_user_key = old_nodes.node_key
    union all
    select
        former_nodes.node_type,
        former_nodes.node_id,
        aliased.changed_at,
        former_nodes.node_id as old_user_id,
        canonical_nodes.node_id as new_user_id,
        'aliased' as cause
    from identity_merges
    inner join aliased on identity_merges.user_key = aliased.user_key
    inner join identity_nodes as former_nodes on identity_merges.user_key = former_nodes.node_key
    inner join identity_nodes as canonical_nodes on identity_merges.canonical_key = canonical_nodes.node_key
    where not identity_merges.is_canonical

),

final as (

    select
        cast(changes.node_type as string) as node_type,
        cast(changes.node_id as string) as node_id,
        cast(changes.changed_at as timestamp) as changed_at,
        cast(changes.old_user_id as string) as old_user_id,
        cast(changes.new_user_id as string) as new_user_id,
        cast(changes.cause as string) as cause
    from changes
    where changes.old_user_id != changes.new_user_id

)

select * from final
