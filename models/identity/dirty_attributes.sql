with dirty_users as (

    select * from {{ ref('dirty_users') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

new_activity as (

    select * from {{ ref('new_activity') }}

),

event_kinds as (

    select * from {{ ref('event_kinds') }}

),

replaced_events as (

    select * from {{ ref('replaced_events') }}

),

-- Rows go by id, and an id that a user and a device share is the user's: only the user's key counts for it.
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
        accounts.node_id as entity_id
    from new_activity
    inner join event_kinds on new_activity.kind_key = event_kinds.kind_key
    inner join identity_nodes as accounts on new_activity.account_key = accounts.node_key
    where event_kinds.event_type = 'group'
    union all
    select
        'account' as entity_type,
        accounts.node_id as entity_id
    from replaced_events
    inner join identity_nodes as accounts on replaced_events.account_key = accounts.node_key
    where replaced_events.since_watermark = {{ since_watermark() }}

),

final as (

    select distinct
        cast(dirty.entity_type as string) as entity_type,
        cast(dirty.entity_id as string) as entity_id
    from dirty
    where {{ in_increment() }}

)

select * from final
