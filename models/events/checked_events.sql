{{ config(materialized=in_place('view')) }}

with adapters as (

    {%- for adapter in var('sources').split(',') %}
    select * from {{ ref('stg_' ~ adapter.strip() ~ '__events') }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}

),

cleaned as (

    select
        adapters.event_id,
        coalesce(adapters.event_type, 'track') as event_type,
        adapters.event_name,
        adapters.occurred_at,
        coalesce(adapters.received_at, adapters.occurred_at) as received_at,
        {{ usable_id('adapters.user_id') }} as user_id,
        {{ usable_id('adapters.anonymous_id') }} as anonymous_id,
        {{ usable_id('adapters.previous_id') }} as previous_id,
        {{ usable_id('adapters.account_id') }} as account_id,
        nullif(adapters.native_session_id, '') as native_session_id,
        {{ matches('lower(adapters.user_agent)', var('bot_pattern')) }} as is_bot,
        {{ is_own_delivery('adapters') }} as is_own_delivery,
        adapters.properties,
        adapters.context,
        adapters.source,
        adapters.loaded_at,
        adapters.load_id
    from adapters

),

-- Vendor tables do not pass the checks that `load` makes, so the same rules stand here for all.
checked as (

    select
        cleaned.*,
        case
            when cleaned.is_own_delivery then null
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
