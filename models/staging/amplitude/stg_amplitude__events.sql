{{ config(enabled='amplitude' in var('sources').replace(' ', '').split(',')) }}

{#- The group type that is the account. -#}
{%- set account_type = "'" ~ var('amplitude_account_group', 'company') ~ "'" -%}

with events as (

    {{ vendor_rows(
        source('raw_amplitude', 'events'),
        columns=[
            'uuid', '$insert_id', 'event_type', 'event_time', 'client_event_time', 'server_received_time', 'server_upload_time',
            'user_id', 'device_id', 'session_id', 'event_properties', 'user_properties', 'groups', 'group_properties', 'library',
        ],
        objects={'context': ['']},
    ) }}

),

typed as (

    select
        events.*,
        case
            when events.event_type = '$identify' then 'identify'
            when events.event_type = '$groupidentify' then 'group'
            when events.event_type = '[Amplitude] Page Viewed' then 'page'
            when events.event_type = '[Amplitude] Screen Viewed' then 'screen'
            else 'track'
        end as call,
        {{ only_element(json_text('events.groups', account_type)) }} as account_group,
        coalesce({{ is_json_object('events.user_properties') }}, false) and events.user_properties != '{}' as has_user_properties
    from events

),

renamed as (

    select
        cast(coalesce(typed.uuid, typed.insert_id) as string) as event_id,
        cast(typed.call as string) as event_type,
        cast(case when typed.call = 'track' then typed.event_type else typed.call end as string) as event_name,
        -- `event_time` is the device's clock, corrected by what the upload showed of it.
        cast({{ first_utc_timestamp(
            ['typed.event_time', 'typed.client_event_time', 'typed.server_received_time']
        ) }} as timestamp) as occurred_at,
        cast({{ first_utc_timestamp(
            ['typed.server_received_time', 'typed.server_upload_time']
        ) }} as timestamp) as received_at,
        cast(typed.user_id as string) as user_id,
        cast(typed.device_id as string) as anonymous_id,
        cast(null as string) as previous_id,
        cast(typed.account_group as string) as account_id,
        -- -1 stands for an event outside of sessions.
        cast(case when typed.session_id != '-1' then typed.session_id end as string) as native_session_id,
        cast(null as string) as user_agent,
        cast(coalesce(typed.insert_id, typed.uuid) as string) as message_id,
        cast(typed.library as string) as library,
        -- What Amplitude knows of the user stands with every event, and is said of the user; a group's is keyed twice.
        cast(case
            when typed.call = 'group'
                then coalesce({{ json_text(json_text('typed.group_properties', account_type), 'typed.account_group') }}, '{}')
            when not typed.has_user_properties then coalesce(typed.event_properties, '{}')
            when coalesce(typed.event_properties, '{}') = '{}' then {{ dbt.concat(["'{\"$set\":'", 'typed.user_properties', "'}'"]) }}
            when {{ is_json_object('typed.event_properties') }}
                then {{ dbt.concat([
                    'substring(trim(typed.event_properties), 1, length(trim(typed.event_properties)) - 1)',
                    "',\"$set\":'", 'typed.user_properties', "'}'",
                ]) }}
            else typed.event_properties
        end as string) as properties,
        cast(typed.context as string) as context,
        cast('amplitude' as string) as source,
        cast(typed.loaded_at as timestamp) as loaded_at,
        cast(typed.load_id as bigint) as load_id
    from typed

)

select * from renamed
