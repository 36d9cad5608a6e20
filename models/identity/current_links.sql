with identity_observations as (

    select * from {{ ref('identity_observations') }}

),

observations_again as (

    select * from {{ ref('identity_observations') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

touched_devices as (

    select * from {{ ref('touched_devices') }}

),

-- What the links of a touched device (in a rebuild: of every device) are now.
observations as (

    select * from identity_observations
    {%- if not rebuilding() %}
    where identity_observations.anonymous_key in (select touched_devices.anonymous_key from touched_devices)
    {%- endif %}

),

devices as (

    select
        observations.anonymous_key,
        min(observations.user_key) as least_user_key,
        max(observations.user_key) as greatest_user_key,
        min(observations.occurred_at) as identified_at
    from observations
    group by observations.anonymous_key

),

-- Nearly every device has one user; only the others need all their observations, in order.
shared_observations as (

    select
        observations_again.anonymous_key,
        observations_again.occurred_at,
        identity_nodes.node_id as user_id
    from observations_again
    inner join devices on observations_again.anonymous_key = devices.anonymous_key
    inner join identity_nodes on observations_again.user_key = identity_nodes.node_key
    where devices.least_user_key < devices.greatest_user_key

),

first_seen as (

    select
        shared_observations.anonymous_key,
        shared_observations.user_id,
        min(shared_observations.occurred_at) as first_at
    from shared_observations
    group by shared_observations.anonymous_key, shared_observations.user_id

),

ranked_users as (

    select
        first_seen.anonymous_key,
        first_seen.user_id,
        first_seen.first_at,
        row_number() over (
            partition by first_seen.anonymous_key
            order by first_seen.first_at asc nulls last, first_seen.user_id asc nulls last
        ) as user_rank
    from first_seen

),

-- From its user number N + 1 on, a device is linked to nobody.
shared_from as (

    select
        ranked_users.anonymous_key,
        ranked_users.first_at as shared_at
    from ranked_users
    where ranked_users.user_rank = {{ var('shared_device_users') }} + 1

),

instants as (

    select
        shared_observations.anonymous_key,
        shared_observations.occurred_at,
        max(shared_observations.user_id) as user_id
    from shared_observations
    group by shared_observations.anonymous_key, shared_observations.occurred_at

),

breakpoints as (

    select
        ranked_users.anonymous_key,
        {{ beginning_of_time() }} as valid_from,
        ranked_users.user_id,
        'identified' as cause
    from ranked_users
    where ranked_users.user_rank = 1
    union all
    select
        instants.anonymous_key,
        instants.occurred_at as valid_from,
        instants.user_id,
        'identified' as cause
    from instants
    left join shared_from on instants.anonymous_key = shared_from.anonymous_key
    where shared_from.shared_at is null or instants.occurred_at < shared_from.shared_at
    union all
    select
        shared_from.anonymous_key,
        shared_from.shared_at as valid_from,
        '' as user_id,
        'shared_device' as cause
    from shared_from

),

with_previous as (

    select
        breakpoints.*,
        lag(breakpoints.user_id) over (
            partition by breakpoints.anonymous_key order by breakpoints.valid_from asc nulls last
        ) as previous_user_id
    from breakpoints

),

changes as (

    select
        with_previous.anonymous_key,
        with_previous.valid_from,
        with_previous.user_id,
        with_previous.cause,
        lead(with_previous.valid_from) over (
            partition by with_previous.anonymous_key order by with_previous.valid_from asc nulls last
        ) as valid_to
    from with_previous
    where with_previous.previous_user_id is null or with_previous.previous_user_id != with_previous.user_id

),

-- An id that is also a user's: what is linked to nobody is that user's.
same_ids as (

    select
        device_nodes.node_key as anonymous_key,
        user_nodes.node_key as user_key
    from identity_nodes as device_nodes
    inner join identity_nodes as user_nodes on device_nodes.node_id = user_nodes.node_id
    where
        device_nodes.node_type = 'anonymous'
        and user_nodes.node_type = 'user'
        {%- if not rebuilding() %}
        and device_nodes.node_key in (select touched_devices.anonymous_key from touched_devices)
        {%- endif %}

),

links as (

    select
        devices.anonymous_key,
        {{ beginning_of_time() }} as valid_from,
        {{ end_of_time() }} as valid_to,
        devices.least_user_key as user_key,
        devices.identified_at,
        'identified' as cause
    from devices
    where devices.least_user_key = devices.greatest_user_key
    union all
    select
        changes.anonymous_key,
        changes.valid_from,
        coalesce(changes.valid_to, {{ end_of_time() }}) as valid_to,
        case
            when changes.cause = 'shared_device' then coalesce(same_ids.user_key, changes.anonymous_key)
            else user_nodes.node_key
        end as user_key,
        case
            when changes.valid_from = {{ beginning_of_time() }} then devices.identified_at
            else changes.valid_from
        end as identified_at,
        changes.cause
    from changes
    inner join devices on changes.anonymous_key = devices.anonymous_key
    left join identity_nodes as user_nodes
        on
            changes.user_id = user_nodes.node_id
            and user_nodes.node_type = 'user'
    left join same_ids on changes.anonymous_key = same_ids.anonymous_key
    union all
    select
        same_ids.anonymous_key,
        {{ beginning_of_time() }} as valid_from,
        {{ end_of_time() }} as valid_to,
        same_ids.user_key,
        {{ beginning_of_time() }} as identified_at,
        'same_id' as cause
    from same_ids
    left join devices on same_ids.anonymous_key = devices.anonymous_key
    where devices.anonymous_key is null

),

final as (

    select
        cast(links.anonymous_key as bigint) as anonymous_key,
        cast(links.valid_from as timestamp) as valid_from,
        cast(links.valid_to as timestamp) as valid_to,
        cast(links.user_key as bigint) as user_key,
        cast(links.identified_at as timestamp) as identified_at,
        cast(links.cause as string) as cause
    from links

)

select * from final
