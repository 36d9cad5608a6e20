{{ config(materialized='table') }}

{% set measures = ['event_count', 'failure_count', 'session_count', 'active_seconds'] %}
{% for behaviour in var('behaviours') %}{% do measures.append(behaviour ~ '_count') %}{% endfor %}

with recent_days as (

    select
        *,
        date_diff('day', activity_date, (select max(activity_date) from {{ ref('user_days') }})) as age
    from {{ ref('user_days') }}

)

select
    user_id,
    min(activity_date) as first_active_date,
    max(activity_date) as last_active_date,
    {% for days in [7, 28, 90] %}
    count(case when age < {{ days }} then 1 end) as active_days_{{ days }}d,
    {% for measure in measures %}
    coalesce(sum(case when age < {{ days }} then {{ measure }} end), 0) as {{ measure }}_{{ days }}d,
    {% endfor %}
    {% endfor %}
    min(age) as silent_days
from recent_days
group by user_id
