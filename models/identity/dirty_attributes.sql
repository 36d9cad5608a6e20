with dirty_users as (

    select * from {{ ref('dirty_users') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

new_activity as (

    select * from {{ ref('new_activity') }}

),

replaced_events as (

    select * from {{ ref('replaced_events') }}

),

-- Rows go by id, and an id that a user and a device share is the user's: of it only the user's key tells.
users as (

    select * from {{ ref('identity_nodes') }}
    where node_type = 'user'

),

dirty as (

    select
        'user' as entity_type,
        identity_nodes.node_id as entity_id
    from dirty_users
    inner join identity_nodes on dirty_users.user_key = identity_nodes.node_key
    left join users on identity_nodes.node_id = users.node_id
    where users.node_key is null or users.node_key = dirty_users.user_key
    union all
    select
        'account' as entity_type,
        new_activity.account_id as entity_id
    from new_activity
    where new_activity.event_type = 'group' and new_activity.account_id is not null
    union all
    select
        'account' as entity_type,
        replaced_events.account_id as entity_id
    from replaced_events
    where replaced_events.account_id is not null and replaced_events.since_watermark = {{ since_watermark() }}

),

final as (

    select distinct
        cast(dirty.entity_type as string) as entity_type,
        cast(dirty.entity_id as string) as entity_id
    from dirty
    where {{ in_increment() }}

)

select * from final
