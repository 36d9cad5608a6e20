{{ config(enabled='mixpanel' in var('sources').replace(' ', '').split(',')) }}

{#- The group key that is the account. -#}
{%- set account_key = "'" ~ var('mixpanel_account_group', 'company') ~ "'" -%}

with events as (

    {{ vendor_rows(source('raw_mixpanel', 'events'), columns=['event', 'properties']) }}

),

opened as (

    select
        events.*,
        {{ json_text('events.properties', "'$insert_id'") }} as insert_id,
        {{ json_text('events.properties', "'time'") }} as time,
        {{ json_text('events.properties', "'mp_processing_time_ms'") }} as processing_time,
        {{ json_text('events.properties', "'$mp_api_timestamp_ms'") }} as api_time,
        {{ json_text('events.properties', "'distinct_id'") }} as distinct_id,
        {{ json_text('events.properties', "'$user_id'") }} as known_user_id,
        {{ json_text('events.properties', "'$device_id'") }} as device_id,
        {{ json_text('events.properties', "'$identified_id'") }} as identified_id,
        {{ json_text('events.properties', "'$anon_id'") }} as former_id,
        {{ json_text('events.properties', "'alias'") }} as alias_id,
        {{ only_element(json_text('events.properties', account_key)) }} as account_group
    from events

),

typed as (

    select
        opened.*,
        case
            when opened.event in ('$identify', '$create_alias') then 'identify'
            when opened.event = '$mp_web_page_view' then 'page'
            else 'track'
        end as call,
        replace(case
            when opened.event = '$identify' then opened.former_id
            when opened.event = '$create_alias' or opened.distinct_id like '$device:%' then opened.distinct_id
            else opened.device_id
        end, '$device:', '') as anonymous_id
    from opened

),

renamed as (

    select
        -- Mixpanel takes events of one insert id for one if name, user and time are the same as well.
        cast({{ dbt.hash(dbt.concat([
            'typed.event', "'|'", "coalesce(typed.distinct_id, '')", "'|'", "coalesce(typed.time, '')", "'|'",
            'coalesce(typed.insert_id, typed.properties)',
        ])) }} as string) as event_id,
        cast(typed.call as string) as event_type,
        cast(case when typed.call = 'track' then typed.event else typed.call end as string) as event_name,
        cast({{ utc_of_local(utc_timestamp('typed.time'), var('mixpanel_time_zone', 'UTC')) }} as timestamp) as occurred_at,
        cast({{ first_utc_timestamp(['typed.api_time', 'typed.processing_time']) }} as timestamp) as received_at,
        cast(case
            when typed.event = '$identify' then coalesce(typed.identified_id, typed.known_user_id)
            when typed.event = '$create_alias' then typed.alias_id
            when typed.known_user_id is not null then typed.known_user_id
            when typed.distinct_id not like '$device:%' and typed.distinct_id != coalesce(typed.device_id, '') then typed.distinct_id
        end as string) as user_id,
        cast(typed.anonymous_id as string) as anonymous_id,
        cast(null as string) as previous_id,
        cast(typed.account_group as string) as account_id,
        cast(null as string) as native_session_id,
        cast(null as string) as user_agent,
        cast(typed.insert_id as string) as message_id,
        cast(null as string) as library,
        -- An identify event tells who somebody is, and nothing of them.
        cast(case
            when typed.call = 'identify' and {{ is_json_object('typed.properties') }} then '{}'
            else typed.properties
        end as string) as properties,
        cast(null as string) as context,
        cast('mixpanel' as string) as source,
        cast(typed.loaded_at as timestamp) as loaded_at,
        cast(typed.load_id as bigint) as load_id
    from typed

)

select * from renamed
