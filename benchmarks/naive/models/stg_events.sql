{{ config(materialized='view') }}

select
    event_id,
    event_name,
    occurred_at,
    coalesce(received_at, occurred_at) as received_at,
    user_id,
    anonymous_id,
    account_id,
    case when event_type = 'page' then json_extract_string(properties, '$.path') end as path,
    coalesce(json_extract_string(context, '$.userAgent') ilike '%bot%', false) as is_bot,
    load_id
from {{ source('raw', 'events') }}
