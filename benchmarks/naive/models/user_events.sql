{{ config(materialized='view') }}

select
    coalesce(events.user_id, identities.user_id, events.anonymous_id) as user_id,
    events.event_id,
    events.occurred_at,
    events.account_id,
    events.behaviour,
    events.outcome,
    events.load_id
from {{ ref('events') }} as events
left join {{ ref('identities') }} as identities on events.anonymous_id = identities.anonymous_id
