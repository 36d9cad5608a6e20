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

event_days as (

    select
        user_id,
        cast(occurred_at as date) as activity_date,
        count(*) as event_count,
        count(case when outcome = 'failure' then 1 end) as failure_count,
        {% for behaviour in var('behaviours') %}
        count(case when behaviour = '{{ behaviour }}' then 1 end) as {{ behaviour }}_count,
        {% endfor %}
        max(load_id) as load_id
    from user_events
    group by user_id, cast(occurred_at as date)

),

session_days as (

    select
        user_id,
        cast(started_at as date) as activity_date,
        count(*) as session_count,
        sum(duration_seconds) as active_seconds
    from {{ ref('sessions') }}
    {% if is_incremental() %}
    where user_id in (select user_id from event_days)
    {% endif %}
    group by user_id, cast(started_at as date)

)

select
    event_days.*,
    coalesce(session_days.session_count, 0) as session_count,
    coalesce(session_days.active_seconds, 0) as active_seconds
from event_days
left join session_days
    on
        event_days.user_id = session_days.user_id
        and event_days.activity_date = session_days.activity_date
