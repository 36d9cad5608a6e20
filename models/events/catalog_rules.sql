{{ config(materialized=in_place('view')) }}

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

),

-- Stored events keep this number instead of what the rule says; another catalogue rebuilds everything. Of several rules
-- that hold, the one with the least number decides: one on a property before one on the name alone, one of the source
-- itself before one of any source, then the more specific one.
numbered as (

    select
        rules.*,
        cast(
            row_number() over (
                order by
                    case when rules.property = '' then 2 else 1 end asc,
                    rules.source desc nulls last,
                    case rules.match when 'equals' then 1 when 'prefix' then 2 else 3 end asc,
                    length(rules.pattern) desc nulls last,
                    rules.property asc nulls last,
                    rules.pattern asc nulls last,
                    rules.event_name asc nulls last,
                    rules.match asc nulls last,
                    rules.behaviour asc nulls last,
                    rules.feature asc nulls last,
                    rules.step asc nulls last,
                    rules.outcome asc nulls last
            ) as bigint
        ) as rule_key
    from rules

)

select * from numbered
