{{ config(materialized='incremental', incremental_strategy='append', pre_hook='{{ delete_touched() }}', on_schema_change='fail') }}

with user_events as (

    select * from {{ ref('user_events') }}

),

users as (

    select
        cast(user_events.user_id as string) as user_id,
        cast(min(user_events.occurred_at) as timestamp) as first_seen_at,
        cast(max(user_events.occurred_at) as timestamp) as last_seen_at,
        cast(count(*) as bigint) as event_count,
        cast(min(case when user_events.is_anonymous then 1 else 0 end) = 1 as boolean) as is_anonymous
    from user_events
    where {{ only_touched('user_events.user_id') }}
    group by user_events.user_id

)

select * from users
