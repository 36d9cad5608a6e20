{{ config(materialized='view') }}

with event_catalog as (

    select * from {{ ref('event_catalog') }}

),

-- dbt reads a blank seed cell as null.
rules as (

    select
        cast(coalesce(event_catalog.source, '') as string) as source,
        cast(event_catalog.event_name as string) as event_name,
        cast(coalesce(event_catalog.property, '') as string) as property,
        cast(coalesce(event_catalog.match, '') as string) as match,
        cast(coalesce(event_catalog.pattern, '') as string) as pattern,
        cast(coalesce(event_catalog.behaviour, '') as string) as behaviour,
        cast(coalesce(event_catalog.feature, '') as string) as feature,
        cast(coalesce(event_catalog.step, '') as string) as step,
        cast(coalesce(event_catalog.outcome, '') as string) as outcome
    from event_catalog

)

select * from rules
