{{ config(materialized='view') }}

with visible_events as (

    select * from {{ ref('visible_events') }}

),

-- Two branches, for each of them alone lets an engine skip what is old.
fresh as (

    select * from visible_events
    where visible_events.load_id > {{ loaded_after() }}
    {%- if var('previous_as_of', none) %}
    union all
    -- Loaded earlier, but not yet before the clock of the last refresh.
    select * from visible_events
    where
        visible_events.load_id <= {{ loaded_after() }}
        and visible_events.occurred_at >= cast('{{ var("previous_as_of") }}' as timestamp)
    {%- endif %}

)

select * from fresh
