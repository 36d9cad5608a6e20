{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='event_id') }}

with new_events as (

    select * from {{ ref('stg_events') }}
    {% if is_incremental() %}
    where load_id > (select max(load_id) from {{ this }})
    {% endif %}

),

mapped as (

    select
        new_events.event_id,
        new_events.occurred_at,
        new_events.received_at,
        new_events.user_id,
        new_events.anonymous_id,
        new_events.account_id,
        coalesce(
            case
                when new_events.path like '/pricing%' then 'pricing'
                when new_events.path like '/invite%' then 'invite'
                when new_events.path like '/settings/team%' then 'collaboration'
            end,
            behaviours.behaviour,
            ''
        ) as behaviour,
        coalesce(behaviours.outcome, '') as outcome,
        new_events.load_id
    from new_events
    left join {{ ref('behaviours') }} as behaviours on new_events.event_name = behaviours.event_name
    where not new_events.is_bot

),

versions as (

    select * from mapped
    {% if is_incremental() %}
    union all
    select * from {{ this }}
    where event_id in (select event_id from mapped)
    {% endif %}

),

ranked as (

    select
        *,
        row_number() over (partition by event_id order by received_at asc nulls last, load_id asc nulls last) as version
    from versions

)

select * exclude (version) from ranked
where version = 1
