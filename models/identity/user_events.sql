{{ config(materialized='view') }}

with fct_events as (

    select * from {{ ref('fct_events') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

owned_events as (

    select
        cast(identity_nodes.user_id as string) as user_id,
        cast(fct_events.event_id as string) as event_id,
        cast(fct_events.occurred_at as timestamp) as occurred_at,
        cast({{ reporting_date('fct_events.occurred_at') }} as date) as activity_date,
        cast(fct_events.account_id as string) as account_id,
        cast(fct_events.user_id is null as boolean) as is_anonymous,
        cast(fct_events.behaviour as string) as behaviour,
        cast(fct_events.feature as string) as feature,
        cast(fct_events.step as string) as step,
        cast(fct_events.outcome as string) as outcome
    from fct_events
    inner join identity_nodes
        on
            identity_nodes.node_type = case when fct_events.user_id is null then 'anonymous' else 'user' end
            and identity_nodes.node_id = coalesce(fct_events.user_id, fct_events.anonymous_id)
    where fct_events.occurred_at < {{ as_of() }}

)

select * from owned_events
