{{ config(
    materialized=in_place('incremental'),
    partition_by='is_current',
    meta={'replaces': {
        'dirty': 'dirty_users',
        'condition': 'dirty.user_key = stored.user_key',
    }},
) }}

with fct_user_account_activity_daily as (

    select * from {{ ref('fct_user_account_activity_daily') }}

),

event_attributes as (

    select * from {{ ref('event_attributes') }}

),

node_owners as (

    select * from {{ ref('node_owners') }}

),

dirty_users as (

    select * from {{ ref('dirty_users') }}

),

seen as (

    select
        fct_user_account_activity_daily.user_key,
        max(fct_user_account_activity_daily.user_id) as user_id,
        fct_user_account_activity_daily.account_id,
        min(fct_user_account_activity_daily.first_event_at) as valid_from,
        max(fct_user_account_activity_daily.last_event_at) as last_event_at
    from fct_user_account_activity_daily
    where
        fct_user_account_activity_daily.account_id != ''
        {%- if is_incremental() %}
        and fct_user_account_activity_daily.user_key in (select dirty_users.user_key from dirty_users)
        {%- endif %}
    group by fct_user_account_activity_daily.user_key, fct_user_account_activity_daily.account_id

),

partings as (

    select
        node_owners.user_key,
        event_attributes.account_id,
        max(event_attributes.occurred_at) as left_at
    from event_attributes
    inner join node_owners
        on
            event_attributes.node_key = node_owners.node_key
            and event_attributes.occurred_at >= node_owners.valid_from
            and event_attributes.occurred_at < node_owners.valid_to
    where
        event_attributes.entity_type = 'membership'
        and event_attributes.attribute = 'left'
        and event_attributes.value = 'true'
        and event_attributes.occurred_at < {{ as_of() }}
    group by node_owners.user_key, event_attributes.account_id

),

-- A user who does anything for the account after leaving it has come back.
rebuilt as (

    select
        seen.*,
        case when partings.left_at >= seen.last_event_at then partings.left_at end as valid_to,
        coalesce(partings.left_at < seen.last_event_at, true) as is_current
    from seen
    left join partings
        on
            seen.user_key = partings.user_key
            and seen.account_id = partings.account_id

),

final as (

    select
        cast(rebuilt.user_key as bigint) as user_key,
        cast(rebuilt.user_id as string) as user_id,
        cast(rebuilt.account_id as string) as account_id,
        cast(rebuilt.valid_from as timestamp) as valid_from,
        cast(rebuilt.valid_to as timestamp) as valid_to,
        cast(rebuilt.last_event_at as timestamp) as last_event_at,
        cast(rebuilt.is_current as boolean) as is_current
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('dirty_users')) }}

)

select * from written
