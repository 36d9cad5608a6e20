with identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

identity_links as (

    select * from {{ ref('identity_links') }}

),

identity_merges as (

    select * from {{ ref('identity_merges') }}

),

dirty_users as (

    select * from {{ ref('dirty_users') }}

),


-- Keys that belong to a dirty user (in a rebuild: to anybody): its own, and those that were merged into it.
members as (

    {%- if rebuilding() %}

    select
        identity_nodes.node_key as user_key,
        coalesce(identity_merges.canonical_key, identity_nodes.node_key) as owner_key,
        {{ beginning_of_time() }} as rebuild_from,
        cast({{ beginning_of_time() }} as date) as rebuild_date
    from identity_nodes
    left join identity_merges on identity_nodes.node_key = identity_merges.user_key
    where identity_nodes.node_type in ('user', 'anonymous')

    {%- else %}

    select
        dirty_users.user_key,
        dirty_users.user_key as owner_key,
        dirty_users.rebuild_from,
        dirty_users.rebuild_date
    from dirty_users
    left join identity_merges on dirty_users.user_key = identity_merges.user_key
    where identity_merges.user_key is null or identity_merges.is_canonical
    union all
    select
        identity_merges.user_key,
        dirty_users.user_key as owner_key,
        dirty_users.rebuild_from,
        dirty_users.rebuild_date
    from dirty_users
    inner join identity_merges on dirty_users.user_key = identity_merges.canonical_key
    where not identity_merges.is_canonical

    {%- endif %}

),

owned as (

    select
        members.user_key as node_key,
        {{ beginning_of_time() }} as valid_from,
        {{ end_of_time() }} as valid_to,
        members.owner_key,
        members.rebuild_from,
        members.rebuild_date
    from members
    left join identity_links on members.user_key = identity_links.anonymous_key
    where identity_links.anonymous_key is null
    union all
    select
        identity_links.anonymous_key as node_key,
        identity_links.valid_from,
        identity_links.valid_to,
        members.owner_key,
        members.rebuild_from,
        members.rebuild_date
    from identity_links
    inner join members on identity_links.user_key = members.user_key

),

final as (

    select
        cast(owned.node_key as bigint) as node_key,
        cast(owned.valid_from as timestamp) as valid_from,
        cast(owned.valid_to as timestamp) as valid_to,
        cast(owned.owner_key as bigint) as user_key,
        cast(owned.rebuild_from as timestamp) as rebuild_from,
        cast(owned.rebuild_date as date) as rebuild_date
    from owned

)

select * from final
