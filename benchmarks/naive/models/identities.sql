{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='anonymous_id') }}

-- An anonymous id belongs to the user who was last seen with it.
with seen as (

    select
        anonymous_id,
        user_id,
        load_id,
        row_number() over (partition by anonymous_id order by occurred_at desc nulls last, user_id asc nulls last) as recency
    from {{ ref('events') }}
    where
        anonymous_id is not null
        and user_id is not null
        {% if is_incremental() %}
        and anonymous_id in (
            select anonymous_id from {{ ref('events') }}
            where load_id > (select max(load_id) from {{ this }})
        )
        {% endif %}

)

select
    anonymous_id,
    max(case when recency = 1 then user_id end) as user_id,
    max(load_id) as load_id
from seen
group by anonymous_id
