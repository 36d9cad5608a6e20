{{ config(materialized='view') }}

with visible_events as (

    {{ dirty_rows(
        ref('visible_events'), 'occurred_date', ref('node_owners'), 'rebuild_date',
        'known.node_key = dirty.node_key and known.occurred_at >= dirty.valid_from and known.occurred_at < dirty.valid_to and '
        ~ reporting_date('known.occurred_at') ~ ' >= dirty.rebuild_date',
        columns=['user_key']
    ) }}

),

owned as (

    select
        cast(visible_events.user_key as bigint) as user_key,
        cast(coalesce(visible_events.account_id, '') as string) as account_id,
        cast({{ reporting_date('visible_events.occurred_at') }} as date) as activity_date,
        cast(visible_events.feature as string) as feature,
        cast(visible_events.step as string) as step,
        cast(visible_events.outcome as string) as outcome,
        cast(visible_events.occurred_at as timestamp) as occurred_at
    from visible_events

)

select * from owned
