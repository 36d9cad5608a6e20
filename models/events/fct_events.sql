{{ config(materialized=in_place('view')) }}

with event_log as (

    select * from {{ ref('event_log') }}

),

event_kinds as (

    select * from {{ ref('event_kinds') }}

),

catalog_rules as (

    select * from {{ ref('catalog_rules') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

final as (

    select
        cast(event_log.event_id as string) as event_id,
        cast(event_kinds.event_type as string) as event_type,
        cast(event_kinds.event_name as string) as event_name,
        cast(event_log.occurred_at as timestamp) as occurred_at,
        cast(event_log.received_at as timestamp) as received_at,
        cast(case when event_log.is_identified then own_nodes.node_id end as string) as user_id,
        cast(device_nodes.node_id as string) as anonymous_id,
        cast(event_log.previous_id as string) as previous_id,
        cast(account_nodes.node_id as string) as account_id,
        cast(event_log.native_session_id as string) as native_session_id,
        cast(coalesce(catalog_rules.behaviour, '') as string) as behaviour,
        cast(coalesce(catalog_rules.feature, '') as string) as feature,
        cast(coalesce(catalog_rules.step, '') as string) as step,
        cast(coalesce(catalog_rules.outcome, '') as string) as outcome,
        cast(event_log.is_bot as boolean) as is_bot,
        cast(event_kinds.source as string) as source,
        cast(event_log.loaded_at as timestamp) as loaded_at,
        cast(event_log.load_id as bigint) as load_id,
        cast(event_log.occurred_date as date) as occurred_date
    from event_log
    inner join event_kinds on event_log.kind_key = event_kinds.kind_key
    inner join identity_nodes as own_nodes on event_log.node_key = own_nodes.node_key
    left join identity_nodes as device_nodes on event_log.anonymous_key = device_nodes.node_key
    left join identity_nodes as account_nodes on event_log.account_key = account_nodes.node_key
    left join catalog_rules on event_log.rule_key = catalog_rules.rule_key

)

select * from final
