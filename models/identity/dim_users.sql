{{ config(
    materialized=in_place('incremental'),
    partition_by='is_anonymous',
    meta={'replaces': {
        'dirty': 'dirty_users',
        'condition': 'dirty.user_key = stored.user_key',
    }},
) }}

with fct_user_activity_daily as (

    select * from {{ ref('fct_user_activity_daily') }}

),

dirty_users as (

    select * from {{ ref('dirty_users') }}

),

rebuilt as (

    select
        fct_user_activity_daily.user_key,
        max(fct_user_activity_daily.user_id) as user_id,
        min(fct_user_activity_daily.first_event_at) as first_seen_at,
        max(fct_user_activity_daily.last_event_at) as last_seen_at,
        sum(fct_user_activity_daily.event_count) as event_count,
        sum(fct_user_activity_daily.identified_event_count) = 0 as is_anonymous
    from fct_user_activity_daily
    {%- if is_incremental() %}
    where fct_user_activity_daily.user_key in (select dirty_users.user_key from dirty_users)
    {%- endif %}
    group by fct_user_activity_daily.user_key

),

final as (

    select
        cast(rebuilt.user_key as bigint) as user_key,
        cast(rebuilt.user_id as string) as user_id,
        cast(rebuilt.first_seen_at as timestamp) as first_seen_at,
        cast(rebuilt.last_seen_at as timestamp) as last_seen_at,
        cast(rebuilt.event_count as bigint) as event_count,
        cast(rebuilt.is_anonymous as boolean) as is_anonymous
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('dirty_users')) }}

)

select * from written
