{{ config(enabled='segment' in var('sources').replace(' ', '').split(',')) }}

{#- What has its own field, or is a clock of the loader, is named; the rest of a row is what the call carried. -#}
{%- set columns = [
    'id', 'event', 'event_text', 'anonymous_id', 'user_id', 'previous_id', 'group_id',
    'timestamp', 'original_timestamp', 'sent_at', 'received_at', 'uuid_ts',
    'context_group_id', 'context_session_id', 'context_user_agent', 'context_library_name',
    'track_properties', 'track_properties_version',
] -%}
{%- set objects = {'context': ['context_'], 'properties': ['']} -%}

with tracks as (

    {{ rows_side_by_side(source('raw_segment', 'tracks'), columns, objects) }}

),

pages as (

    {{ rows_side_by_side(source('raw_segment', 'pages'), columns, objects) }}

),

screens as (

    {{ rows_side_by_side(source('raw_segment', 'screens'), columns, objects) }}

),

identifies as (

    {{ rows_side_by_side(source('raw_segment', 'identifies'), columns, objects) }}

),

groups as (

    {{ rows_side_by_side(source('raw_segment', 'groups'), columns, objects) }}

),

aliases as (

    {{ rows_side_by_side(source('raw_segment', 'aliases'), columns, objects) }}

),

-- Only a track call has a name that says what happened; the name of a page or screen stays among the properties.
calls as (

    select
        tracks.*,
        'track' as event_type,
        coalesce(tracks.event_text, tracks.event) as event_name
    from tracks
    union all
    select
        pages.*,
        'page' as event_type,
        'page' as event_name
    from pages
    union all
    select
        screens.*,
        'screen' as event_type,
        'screen' as event_name
    from screens
    union all
    select
        identifies.*,
        'identify' as event_type,
        'identify' as event_name
    from identifies
    union all
    select
        groups.*,
        'group' as event_type,
        'group' as event_name
    from groups
    union all
    select
        aliases.*,
        'alias' as event_type,
        'alias' as event_name
    from aliases

),

renamed as (

    select
        cast(calls.id as string) as event_id,
        cast(calls.event_type as string) as event_type,
        cast(calls.event_name as string) as event_name,
        -- `timestamp` is the device's clock, corrected by the collector; the device's own clock may be wrong.
        cast({{ first_utc_timestamp(
            ['calls.timestamp', 'calls.original_timestamp', 'calls.received_at']
        ) }} as timestamp) as occurred_at,
        -- Of a call's versions the first received counts: that is the one with the most of its properties.
        cast({{ micros_instant(
            epoch_micros(utc_timestamp('calls.received_at'))
            ~ ' - coalesce(cast(calls.track_properties_version as bigint), 0)'
        ) }} as timestamp) as received_at,
        cast(calls.user_id as string) as user_id,
        cast(calls.anonymous_id as string) as anonymous_id,
        cast(calls.previous_id as string) as previous_id,
        cast(coalesce(calls.group_id, calls.context_group_id) as string) as account_id,
        cast(calls.context_session_id as string) as native_session_id,
        cast(calls.context_user_agent as string) as user_agent,
        cast(calls.id as string) as message_id,
        cast(calls.context_library_name as string) as library,
        cast(coalesce(calls.track_properties, calls.properties) as string) as properties,
        cast(calls.context as string) as context,
        cast(calls.source as string) as source,
        cast(calls.loaded_at as timestamp) as loaded_at,
        cast(calls.load_id as bigint) as load_id
    from calls

)

select * from renamed
