-- depends_on: {{ ref('identities') }}
{{ config(
    materialized='incremental', incremental_strategy='delete+insert', unique_key='user_id',
    pre_hook="{% if is_incremental() %}delete from {{ this }} where user_id in (select anonymous_id from {{ ref('identities') }}){% endif %}"
) }}

with user_events as (

    select * from {{ ref('user_events') }}
    {% if is_incremental() %}
    where
        user_id in (
            select user_id from {{ ref('user_events') }}
            where load_id > (select max(load_id) from {{ this }})
        )
    {% endif %}

),

gaps as (

    select
        *,
        lag(occurred_at) over (partition by user_id order by occurred_at asc nulls last, event_id asc nulls last)
            as previous_at
    from user_events

),

numbered as (

    select
        *,
        sum(
            case when occurred_at - previous_at <= interval '{{ var("session_gap_minutes") }} minutes' then 0 else 1 end
        ) over (
            partition by user_id order by occurred_at asc nulls last, event_id asc nulls last
            rows between unbounded preceding and current row
        ) as session_number
    from gaps

)

select
    md5(user_id || '|' || epoch_us(min(occurred_at))) as session_id,
    user_id,
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    date_diff('second', min(occurred_at), max(occurred_at)) as duration_seconds,
    count(*) as event_count,
    {% for behaviour in var('behaviours') %}
    count(case when behaviour = '{{ behaviour }}' then 1 end) as {{ behaviour }}_count,
    {% endfor %}
    max(load_id) as load_id
from numbered
group by user_id, session_number
