{{ config(enabled='posthog' in var('sources').replace(' ', '').split(',')) }}

{#- The group type that is the account. -#}
{%- set account_type = "'" ~ var('posthog_account_group', 'company') ~ "'" -%}

with rows_of_events as (

    {{ vendor_rows(
        source('raw_posthog', 'events'),
        columns=['uuid', 'event', 'distinct_id', 'timestamp', 'created_at', 'properties'],
    ) }}

),

events as (

    select
        rows_of_events.uuid,
        rows_of_events.event,
        {{ posthog_id('rows_of_events.distinct_id') }} as distinct_id,
        rows_of_events.timestamp,
        rows_of_events.created_at,
        rows_of_events.properties,
        rows_of_events.loaded_at,
        rows_of_events.load_id
    from rows_of_events

),

opened as (

    select
        events.*,
        {{ is_json_object('events.properties') }} as is_readable,
        {{ json_text('events.properties', "'$is_identified'") }} as is_identified,
        {{ json_text('events.properties', "'$user_id'") }} as identified_id,
        {{ json_text('events.properties', "'$process_person_profile'") }} as has_profile,
        {{ json_text('events.properties', "'$device_id'") }} as device_id,
        {{ posthog_id(json_text('events.properties', "'$anon_distinct_id'")) }} as former_anonymous_id,
        {{ posthog_id(json_text('events.properties', "'alias'")) }} as alias_id,
        {{ json_text('events.properties', "'$group_set'") }} as group_traits,
        {{ json_text('events.properties', "'$group_type'") }} as group_type,
        {{ json_text('events.properties', "'$group_key'") }} as group_key,
        {{ json_text('events.properties', "'$group_0'") }} as first_group,
        {{ json_text(json_text('events.properties', "'$groups'"), account_type) }} as account_group,
        {{ json_text('events.properties', "'$session_id'") }} as native_session_id,
        {{ json_text('events.properties', "'$raw_user_agent'") }} as user_agent,
        coalesce(
            {{ json_text('events.properties', "'$insert_id'") }}, {{ json_text('events.properties', "'messageId'") }}
        ) as message_id,
        {{ named_library('events.properties') }} as library
    from events

),

typed as (

    select
        opened.*,
        case
            when opened.event = '$pageview' then 'page'
            when opened.event = '$screen' then 'screen'
            when opened.event in ('$identify', '$set', '$create_alias') then 'identify'
            when opened.event = '$groupidentify' then 'group'
            when opened.event = '$merge_dangerously' then 'alias'
            else 'track'
        end as event_type,
        -- PostHog has one id a event. The trackers say whether it is a user's; where they do not, it is a user's unless
        -- it is the device's. A group that a server describes has an id made of its type and key, which is nobody's.
        case
            when opened.event = '$identify' then false
            when opened.event = '$groupidentify' and opened.distinct_id in (
                {{ dbt.concat(["'$'", 'opened.group_type', "'_'", 'opened.group_key']) }}, opened.group_key
            ) then true
            when opened.is_identified in ('true', 'false') then opened.is_identified = 'false'
            when opened.identified_id = opened.distinct_id then false
            when opened.has_profile = 'false' then true
            else coalesce(opened.distinct_id = opened.device_id, false)
        end as is_anonymous
    from opened

),

renamed as (

    select
        cast(typed.uuid as string) as event_id,
        cast(typed.event_type as string) as event_type,
        cast(case when typed.event_type = 'track' then typed.event else typed.event_type end as string) as event_name,
        cast({{ utc_timestamp('typed.timestamp') }} as timestamp) as occurred_at,
        cast({{ utc_timestamp('typed.created_at') }} as timestamp) as received_at,
        -- An alias belongs to distinct_id. A device without a user names its user so, the other way round.
        cast(case
            when typed.event in ('$create_alias', '$merge_dangerously') and typed.is_anonymous then typed.alias_id
            when not typed.is_anonymous then typed.distinct_id
        end as string) as user_id,
        -- PostHog merges no person that is identified already by $create_alias: it says whose the alias is as a device.
        cast(case
            when typed.is_anonymous then typed.distinct_id
            when typed.event = '$create_alias' then typed.alias_id
            when typed.former_anonymous_id != typed.distinct_id and typed.event = '$identify' then typed.former_anonymous_id
        end as string) as anonymous_id,
        cast(case
            when typed.event_type = 'alias' and typed.is_anonymous then typed.distinct_id
            when typed.event_type = 'alias' then typed.alias_id
        end as string) as previous_id,
        cast(case
            when typed.event_type != 'group' then coalesce(typed.account_group, typed.first_group)
            when typed.group_type = {{ account_type }} or typed.group_key = typed.first_group then typed.group_key
        end as string) as account_id,
        cast(typed.native_session_id as string) as native_session_id,
        cast(typed.user_agent as string) as user_agent,
        cast(coalesce(typed.message_id, typed.uuid) as string) as message_id,
        cast(typed.library as string) as library,
        -- A group event says of its group what stands under $group_set. What an event says of its user stands under $set,
        -- $set_once and $unset, and nothing else of it does; text that is no object is kept, to be refused.
        cast(case
            when typed.is_readable and typed.event_type = 'identify' and not {{ sets_person_properties('typed.properties') }} then '{}'
            when typed.is_readable and typed.event_type = 'group' then coalesce(typed.group_traits, '{}')
            else typed.properties
        end as string) as properties,
        cast(null as string) as context,
        cast('posthog' as string) as source,
        cast(typed.loaded_at as timestamp) as loaded_at,
        cast(typed.load_id as bigint) as load_id
    from typed

)

select * from renamed
