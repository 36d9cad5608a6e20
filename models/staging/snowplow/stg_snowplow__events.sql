{{ config(enabled='snowplow' in var('sources').replace(' ', '').split(',')) }}

with events as (

    {{ vendor_rows(
        source('raw_snowplow', 'events'),
        columns=[
            'event_id', 'event', 'event_name', 'derived_tstamp', 'dvce_created_tstamp', 'collector_tstamp',
            'user_id', 'domain_userid', 'domain_sessionid', 'account_id', 'useragent', 'se_action', 'unstruct_event',
            'contexts_com_snowplowanalytics_snowplow_client_session_1',
        ] + (['network_userid'] if var('snowplow_network_userid') else []),
        objects={'atomic_properties': ['page_', 'se_', 'tr_', 'ti_', 'pp_'], 'context': ['']},
        firsts={
            'self_describing_data': 'unstruct_event_',
            'identity': 'contexts_com_snowplowanalytics_snowplow_identity_',
            'user_entity': 'contexts_' ~ var('snowplow_user_entity') ~ '_',
        },
        members={'entities': ('contexts_', 'contexts_com_snowplowanalytics_')},
    ) }}

),

identities as (

    {{ vendor_rows(
        source('raw_snowplow', 'identities'),
        columns=['event_id', 'user_id', 'previous_id', 'derived_tstamp', 'collector_tstamp'],
    ) }}

),

-- A self-describing event carries its data in its own column or in an envelope (schema and data, twice). Mobile
-- trackers keep device and session in an entity, a list of one object whose keys some loaders write in snake case.
opened as (

    select
        events.*,
        coalesce(
            {{ json_text(json_text('events.unstruct_event', "'data'"), "'data'") }}, events.self_describing_data
        ) as event_data,
        {{ only_object('events.contexts_com_snowplowanalytics_snowplow_client_session_1') }} as client_session,
        {{ only_object('events.identity') }} as profile,
        {{ only_object('events.user_entity') }} as person
    from events

),

-- What an entity of the project's own says beside the event's data: steps, features, plans, and of whom it is.
completed as (

    select
        opened.*,
        case
            when {{ is_json_object('opened.event_data') }} then trim(opened.event_data)
            else opened.atomic_properties
        end as own_properties,
        {{ joined_objects(
            'opened.entities',
            "case when " ~ is_json_object('opened.person') ~ " then concat('{\"$set\":', opened.person, '}') else '{}' end"
        ) }} as told_properties
    from opened

),

renamed as (

    select
        cast(completed.event_id as string) as event_id,
        cast(case
            when completed.event = 'page_view' then 'page'
            when completed.event_name = 'screen_view' then 'screen'
            else 'track'
        end as string) as event_type,
        -- All structured events are called `event`; their action says what happened.
        cast(case
            when completed.event = 'page_view' then 'page'
            when completed.event_name = 'screen_view' then 'screen'
            when completed.event = 'struct' then completed.se_action
            else coalesce(completed.event_name, completed.event)
        end as string) as event_name,
        -- `derived_tstamp` is the device's clock, corrected by the pipeline.
        cast({{ first_utc_timestamp(
            ['completed.derived_tstamp', 'completed.dvce_created_tstamp', 'completed.collector_tstamp']
        ) }} as timestamp) as occurred_at,
        cast({{ utc_timestamp('completed.collector_tstamp') }} as timestamp) as received_at,
        cast(completed.user_id as string) as user_id,
        -- A profile of Snowplow's Identities is what all ids of its events are one of.
        cast(coalesce(
            {{ json_text('completed.profile', "'snowplow_id'") }},
            {{ json_text('completed.profile', "'snowplowId'") }},
            case when completed.event_name = 'identity_merge' then {{ json_text('completed.event_data', "'snowplow_id'") }} end,
            case when completed.event_name = 'identity_merge' then {{ json_text('completed.event_data', "'snowplowId'") }} end,
            completed.domain_userid,
            {{ json_text('completed.client_session', "'userId'") }},
            {{ json_text('completed.client_session', "'user_id'") }}
            {%- if var('snowplow_network_userid') %},
            completed.network_userid
            {%- endif %}
        ) as string) as anonymous_id,
        cast(null as string) as previous_id,
        cast(completed.account_id as string) as account_id,
        cast(coalesce(
            completed.domain_sessionid,
            {{ json_text('completed.client_session', "'sessionId'") }},
            {{ json_text('completed.client_session', "'session_id'") }}
        ) as string) as native_session_id,
        cast(completed.useragent as string) as user_agent,
        cast(completed.event_id as string) as message_id,
        cast(null as string) as library,
        cast({{ joined_objects('completed.own_properties', 'completed.told_properties') }} as string) as properties,
        cast(completed.context as string) as context,
        cast('snowplow' as string) as source,
        cast(completed.loaded_at as timestamp) as loaded_at,
        cast(completed.load_id as bigint) as load_id
    from completed
    union all
    select
        cast(identities.event_id as string) as event_id,
        cast('alias' as string) as event_type,
        cast('alias' as string) as event_name,
        cast({{ first_utc_timestamp(['identities.derived_tstamp', 'identities.collector_tstamp']) }} as timestamp)
            as occurred_at,
        cast({{ utc_timestamp('identities.collector_tstamp') }} as timestamp) as received_at,
        cast(identities.user_id as string) as user_id,
        cast(null as string) as anonymous_id,
        cast(identities.previous_id as string) as previous_id,
        cast(null as string) as account_id,
        cast(null as string) as native_session_id,
        cast(null as string) as user_agent,
        cast(identities.event_id as string) as message_id,
        cast(null as string) as library,
        cast(null as string) as properties,
        cast(null as string) as context,
        cast('snowplow' as string) as source,
        cast(identities.loaded_at as timestamp) as loaded_at,
        cast(identities.load_id as bigint) as load_id
    from identities

)

select * from renamed
