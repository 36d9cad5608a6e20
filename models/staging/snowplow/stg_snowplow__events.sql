{{ config(enabled='snowplow' in var('sources').replace(' ', '').split(',')) }}

with events as (

    {{ vendor_rows(
        source('raw_snowplow', 'events'),
        columns=[
            'event_id', 'event', 'event_name', 'derived_tstamp', 'dvce_created_tstamp', 'collector_tstamp',
            'user_id', 'domain_userid', 'domain_sessionid', 'account_id', 'useragent', 'se_action', 'unstruct_event',
            'contexts_com_snowplowanalytics_snowplow_client_session_1',
        ],
        objects={'atomic_properties': ['page_', 'se_', 'tr_', 'ti_', 'pp_'], 'context': ['']},
        firsts={'self_describing_data': 'unstruct_event_'},
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
        substring(
            events.contexts_com_snowplowanalytics_snowplow_client_session_1,
            2,
            length(events.contexts_com_snowplowanalytics_snowplow_client_session_1) - 2
        ) as client_session
    from events

),

renamed as (

    select
        cast(opened.event_id as string) as event_id,
        cast(case
            when opened.event = 'page_view' then 'page'
            when opened.event_name = 'screen_view' then 'screen'
            else 'track'
        end as string) as event_type,
        -- All structured events are called `event`; their action says what happened.
        cast(case
            when opened.event = 'page_view' then 'page'
            when opened.event_name = 'screen_view' then 'screen'
            when opened.event = 'struct' then opened.se_action
            else coalesce(opened.event_name, opened.event)
        end as string) as event_name,
        -- `derived_tstamp` is the device's clock, corrected by the pipeline.
        cast({{ first_utc_timestamp(
            ['opened.derived_tstamp', 'opened.dvce_created_tstamp', 'opened.collector_tstamp']
        ) }} as timestamp) as occurred_at,
        cast({{ utc_timestamp('opened.collector_tstamp') }} as timestamp) as received_at,
        cast(opened.user_id as string) as user_id,
        cast(coalesce(
            opened.domain_userid,
            {{ json_text('opened.client_session', "'userId'") }},
            {{ json_text('opened.client_session', "'user_id'") }}
        ) as string) as anonymous_id,
        cast(null as string) as previous_id,
        cast(opened.account_id as string) as account_id,
        cast(coalesce(
            opened.domain_sessionid,
            {{ json_text('opened.client_session', "'sessionId'") }},
            {{ json_text('opened.client_session', "'session_id'") }}
        ) as string) as native_session_id,
        cast(opened.useragent as string) as user_agent,
        cast(case
            when {{ is_json_object('opened.event_data') }} then opened.event_data
            else opened.atomic_properties
        end as string) as properties,
        cast(opened.context as string) as context,
        cast('snowplow' as string) as source,
        cast(opened.loaded_at as timestamp) as loaded_at,
        cast(opened.load_id as bigint) as load_id
    from opened

)

select * from renamed
