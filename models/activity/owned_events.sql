{{ config(materialized=in_place('view')) }}

with visible_events as (

    {{ dirty_rows(
        ref('visible_events'), 'occurred_date', ref('node_owners'), 'rebuild_date',
        'known.node_key = dirty.node_key and known.occurred_at >= dirty.valid_from and known.occurred_at < dirty.valid_to and '
        ~ reporting_date('known.occurred_at') ~ ' >= dirty.rebuild_date',
        columns=['user_key']
    ) }}

),

catalog_rules as (

    select * from {{ ref('catalog_rules') }}

),

owned as (

    select
        cast(visible_events.user_key as bigint) as user_key,
        cast(visible_events.account_key as bigint) as account_key,
        cast({{ reporting_date('visible_events.occurred_at') }} as date) as activity_date,
        cast(catalog_rules.behaviour as string) as behaviour,
        cast(catalog_rules.feature as string) as feature,
        cast(catalog_rules.step as string) as step,
        cast(catalog_rules.outcome as string) as outcome,
        cast(visible_events.occurred_at as timestamp) as occurred_at
    from visible_events
    inner join catalog_rules on visible_events.rule_key = catalog_rules.rule_key

)

select * from owned
