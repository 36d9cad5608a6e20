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

unmapped as (

    select
        cast(event_kinds.source as string) as source,
        cast(event_kinds.event_name as string) as event_name,
        cast(count(*) as bigint) as event_count,
        cast(min(event_log.occurred_at) as timestamp) as first_seen_at,
        cast(max(event_log.occurred_at) as timestamp) as last_seen_at
    from event_log
    inner join event_kinds on event_log.kind_key = event_kinds.kind_key
    left join catalog_rules on event_log.rule_key = catalog_rules.rule_key
    where coalesce(catalog_rules.behaviour, '') = ''
    group by event_kinds.source, event_kinds.event_name

)

select * from unmapped
