{{ config(materialized='view') }}

with adapters as (

    {%- for adapter in var('sources').split(',') %}
    select * from {{ ref('stg_' ~ adapter.strip() ~ '__events') }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}

),

-- The content hash breaks ties between versions of one event, so that load order never decides.
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

-- Vendor tables do not pass the checks that `load` makes, so the same rules stand here for all.
checked as (

    select
        hashed.*,
        case
            when coalesce(event_id, '') = '' then 'no event_id'
            when coalesce(event_name, '') = '' then 'no event_name'
            when coalesce(user_id, '') = '' and coalesce(anonymous_id, '') = '' then 'neither user_id nor anonymous_id'
            when occurred_at is null then 'no readable occurred_at'
            when occurred_at > loaded_at + interval '1 day' then 'occurred_at is more than a day after loaded_at'
            when properties is not null and not {{ is_json_object('properties') }} then 'properties are not a JSON object'
        end as quarantine_reason
    from hashed

)

select * from checked
