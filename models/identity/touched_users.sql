-- A later load may replace the stored version of an event, so every version's owner is touched, not the winner's alone.
with checked_events as (

    select * from {{ ref('checked_events') }}

),

fct_events as (

    select * from {{ ref('fct_events') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

new_ids as (

    select distinct
        checked_events.source,
        checked_events.event_id
    from checked_events
    where
        checked_events.load_id > {{ loaded_after() }}
        and checked_events.quarantine_reason is null

),

touched_nodes as (

    select
        case when coalesce(checked_events.user_id, '') = '' then 'anonymous' else 'user' end as node_type,
        coalesce(nullif(checked_events.user_id, ''), checked_events.anonymous_id) as node_id
    from checked_events
    inner join new_ids
        on
            checked_events.event_id = new_ids.event_id
            and checked_events.source = new_ids.source
    where checked_events.quarantine_reason is null
    {%- if var('previous_as_of', none) %}
    union all
    -- Loaded earlier, but not yet before the clock of the last refresh.
    select
        case when fct_events.user_id is null then 'anonymous' else 'user' end as node_type,
        coalesce(fct_events.user_id, fct_events.anonymous_id) as node_id
    from fct_events
    where fct_events.occurred_at >= cast('{{ var("previous_as_of") }}' as timestamp)
    {%- endif %}

),

touched as (

    select distinct cast(identity_nodes.user_id as string) as user_id
    from touched_nodes
    inner join identity_nodes
        on
            touched_nodes.node_type = identity_nodes.node_type
            and touched_nodes.node_id = identity_nodes.node_id

)

select * from touched
