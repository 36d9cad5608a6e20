with source as (

    select * from {{ source('raw', 'events') }}

),

renamed as (

    select
        cast(source.event_id as string) as event_id,
        cast(source.event_type as string) as event_type,
        cast(source.event_name as string) as event_name,
        cast(source.occurred_at as timestamp) as occurred_at,
        cast(source.received_at as timestamp) as received_at,
        cast(source.user_id as string) as user_id,
        cast(source.anonymous_id as string) as anonymous_id,
        cast(source.previous_id as string) as previous_id,
        cast(source.account_id as string) as account_id,
        cast(source.session_id as string) as native_session_id,
        cast(coalesce(
            {{ json_text('source.context', "'userAgent'") }},
            {{ json_text('source.context', "'user_agent'") }}
        ) as string) as user_agent,
        cast(source.event_id as string) as message_id,
        cast(coalesce({{ named_library('source.context') }}, {{ named_library('source.properties') }}) as string) as library,
        cast(source.properties as string) as properties,
        cast(source.context as string) as context,
        cast(source.source as string) as source,
        cast(source.loaded_at as timestamp) as loaded_at,
        cast(source.load_id as bigint) as load_id
    from source

)

select * from renamed
