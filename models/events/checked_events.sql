{{ config(materialized='view') }}

with adapters as (

    {%- for adapter in var('sources').split(',') %}
    select * from {{ ref('stg_' ~ adapter.strip() ~ '__events') }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}

),

-- The content hash, of the row as it was sent, breaks ties between versions of one event: load order never decides.
hashed as (

    select
        adapters.*,
        {{ dbt.hash(dbt.concat([
            "coalesce(event_name, '')", "'|'", "coalesce(user_id, '')", "'|'", "coalesce(anonymous_id, '')", "'|'",
            "coalesce(account_id, '')", "'|'", "coalesce(cast(" ~ epoch_micros('occurred_at') ~ " as string), '')", "'|'",
            "coalesce(properties, '')", "'|'", "coalesce(context, '')", "'|'", "coalesce(native_session_id, '')", "'|'",
            "coalesce(event_type, '')", "'|'", "coalesce(previous_id, '')", "'|'", "source",
        ])) }} as content_hash
    from adapters

),

cleaned as (

    select
        hashed.event_id,
        coalesce(hashed.event_type, 'track') as event_type,
        hashed.event_name,
        hashed.occurred_at,
        coalesce(hashed.received_at, hashed.occurred_at) as received_at,
        {{ usable_id('hashed.user_id') }} as user_id,
        {{ usable_id('hashed.anonymous_id') }} as anonymous_id,
        {{ usable_id('hashed.previous_id') }} as previous_id,
        {{ usable_id('hashed.account_id') }} as account_id,
        nullif(hashed.native_session_id, '') as native_session_id,
        {{ matches('lower(hashed.user_agent)', var('bot_pattern')) }} as is_bot,
        hashed.properties,
        hashed.context,
        hashed.source,
        hashed.loaded_at,
        hashed.load_id,
        hashed.content_hash
    from hashed

),

-- Vendor tables do not pass the checks that `load` makes, so the same rules stand here for all.
checked as (

    select
        cleaned.*,
        case
            when coalesce(cleaned.event_id, '') = '' then 'no event_id'
            when coalesce(cleaned.event_name, '') = '' then 'no event_name'
            when cleaned.user_id is null and cleaned.anonymous_id is null then 'neither user_id nor anonymous_id'
            when cleaned.occurred_at is null then 'no readable occurred_at'
            when cleaned.occurred_at > cleaned.loaded_at + interval '1 day' then 'occurred_at is more than a day after loaded_at'
            when cleaned.properties is not null and not {{ is_json_object('cleaned.properties') }}
                then 'properties are not a JSON object'
        end as quarantine_reason
    from cleaned

)

select * from checked
