with merge_edges as (

    select * from {{ ref('merge_edges') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

components as (

    {{ connected_components(ref('merge_edges')) }}

),

former_users as (

    select distinct merge_edges.from_key as node_key
    from merge_edges
    where merge_edges.is_former

),

members as (

    select
        components.node_key,
        components.component_key,
        identity_nodes.node_id,
        case when former_users.node_key is not null then 1 else 0 end as former_rank
    from components
    inner join identity_nodes on components.node_key = identity_nodes.node_key
    left join former_users on components.node_key = former_users.node_key

),

-- Who was never called a former id comes first; in a cycle everybody was, and the least id decides.
ranked as (

    select
        members.node_key,
        first_value(members.node_key) over (
            partition by members.component_key
            order by members.former_rank asc nulls last, members.node_id asc nulls last
        ) as canonical_key
    from members

),

final as (

    select
        cast(ranked.node_key as bigint) as user_key,
        cast(ranked.canonical_key as bigint) as canonical_key,
        cast(ranked.node_key = ranked.canonical_key as boolean) as is_canonical
    from ranked

)

select * from final
