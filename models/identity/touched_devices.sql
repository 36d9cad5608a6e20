{%- set identity_links = stored('identity', 'identity_links') -%}

with new_activity as (

    select * from {{ ref('new_activity') }}

),

alias_events as (

    select * from {{ ref('alias_events') }}

),

replaced_events as (

    select * from {{ ref('replaced_events') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),


new_observations as (

    select
        new_activity.anonymous_key,
        new_activity.node_key as user_key,
        new_activity.occurred_at
    from new_activity
    where new_activity.is_identified and new_activity.anonymous_key is not null

),

-- Most devices are seen again with the one user that they always had: nothing changes then.
changed as (

    {%- if identity_links %}

    select new_observations.anonymous_key
    from new_observations
    left join {{ identity_links }} as known
        on
            new_observations.anonymous_key = known.anonymous_key
            and new_observations.user_key = known.user_key
            and known.cause = 'identified'
            and known.valid_from = {{ beginning_of_time() }}
            and known.valid_to = {{ end_of_time() }}
            and new_observations.occurred_at >= known.identified_at
    where known.anonymous_key is null

    {%- else %}

    select new_observations.anonymous_key
    from new_observations

    {%- endif %}

),

replaced as (

    select
        replaced_events.anonymous_key,
        replaced_events.previous_id
    from replaced_events
    where replaced_events.since_watermark = {{ since_watermark() }}

),

new_nodes as (

    select * from {{ ref('identity_nodes') }}
    where
        node_type in ('user', 'anonymous')
        and first_load_id > {{ loaded_after() }}

),

-- An id that a user and a device share belongs to the user; either may have come now.
same_ids as (

    select case when identity_nodes.node_type = 'anonymous' then identity_nodes.node_key else new_nodes.node_key end as anonymous_key
    from new_nodes
    inner join identity_nodes
        on
            new_nodes.node_id = identity_nodes.node_id
            and new_nodes.node_type != identity_nodes.node_type
            and identity_nodes.node_type in ('user', 'anonymous')

),

former_devices as (

    select * from {{ ref('identity_nodes') }}
    where node_type = 'anonymous'

),

touched as (

    select changed.anonymous_key
    from changed
    union all
    -- Aliases are few: all of their devices are looked at again.
    select alias_events.previous_anonymous_key as anonymous_key
    from alias_events
    where {{ is_new('alias_events') }}
    union all
    select replaced.anonymous_key
    from replaced
    where replaced.anonymous_key is not null
    union all
    select former_devices.node_key as anonymous_key
    from replaced
    inner join former_devices on replaced.previous_id = former_devices.node_id
    union all
    select same_ids.anonymous_key
    from same_ids

),

final as (

    select distinct cast(touched.anonymous_key as bigint) as anonymous_key
    from touched
    where {{ in_increment() }}

)

select * from final
