{{ config(
    materialized=in_place('incremental'),
    partition_by='first_seen_date',
    meta={'replaces': {
        'dirty': 'touched_account_days',
        'condition': 'dirty.account_id = stored.account_id',
    }},
) }}

with fct_account_activity_daily as (

    select * from {{ ref('fct_account_activity_daily') }}

),

memberships as (

    select * from {{ ref('memberships') }}

),

touched_account_days as (

    select * from {{ ref('touched_account_days') }}

),

days as (

    select
        fct_account_activity_daily.account_id,
        min(fct_account_activity_daily.first_event_at) as first_seen_at,
        max(fct_account_activity_daily.last_event_at) as last_seen_at,
        sum(fct_account_activity_daily.event_count) as event_count
    from fct_account_activity_daily
    {%- if is_incremental() %}
    where
        fct_account_activity_daily.account_id in (
            select touched_account_days.account_id from touched_account_days
        )
    {%- endif %}
    group by fct_account_activity_daily.account_id

),

members as (

    select
        memberships.account_id,
        count(*) as user_count,
        sum(case when memberships.is_current then 1 else 0 end) as member_count
    from memberships
    group by memberships.account_id

),

rebuilt as (

    select
        days.*,
        members.user_count,
        members.member_count,
        cast(days.first_seen_at as date) as first_seen_date
    from days
    inner join members on days.account_id = members.account_id

),

final as (

    select
        cast(rebuilt.account_id as string) as account_id,
        cast(rebuilt.first_seen_at as timestamp) as first_seen_at,
        cast(rebuilt.last_seen_at as timestamp) as last_seen_at,
        cast(rebuilt.event_count as bigint) as event_count,
        cast(rebuilt.user_count as bigint) as user_count,
        cast(rebuilt.member_count as bigint) as member_count,
        cast(rebuilt.first_seen_date as date) as first_seen_date
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('touched_account_days')) }}

)

select * from written
