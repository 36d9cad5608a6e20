{%- set identity_merges = stored('identity', 'identity_merges') -%}

with alias_events as (

    select * from {{ ref('alias_events') }}

),

replaced_events as (

    select * from {{ ref('replaced_events') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),


touched_aliases as (

    select
        alias_events.user_key,
        alias_events.previous_user_key
    from alias_events
    where {{ is_new('alias_events') }}

),

named as (

    select touched_aliases.user_key
    from touched_aliases
    union all
    select touched_aliases.previous_user_key as user_key
    from touched_aliases
    union all
    select replaced_events.node_key as user_key
    from replaced_events
    where replaced_events.previous_id is not null and replaced_events.since_watermark = {{ since_watermark() }}
    union all
    select former_users.node_key as user_key
    from replaced_events
    inner join identity_nodes as former_users on replaced_events.previous_id = former_users.node_id
    where former_users.node_type = 'user' and replaced_events.since_watermark = {{ since_watermark() }}

),

-- With a user that an alias names, everything that it was merged with until now is decided again.
members as (

    select named.user_key
    from named
    {%- if identity_merges %}
    union all
    select others.user_key
    from named
    inner join {{ identity_merges }} as own on named.user_key = own.user_key
    inner join {{ identity_merges }} as others on own.canonical_key = others.canonical_key
    {%- endif %}

),

final as (

    select distinct cast(members.user_key as bigint) as user_key
    from members
    where {{ in_increment() }}

)

select * from final
