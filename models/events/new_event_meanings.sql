{{ config(materialized='view') }}

with new_events as (

    select * from {{ ref('new_events') }}

),

property_rules as (

    select * from {{ ref('catalog_rules') }}
    where property != ''

),

-- Only events whose name has a rule on a property pay for reading their properties.
matching as (

    select
        new_events.source,
        new_events.event_id,
        new_events.properties,
        property_rules.behaviour,
        property_rules.feature,
        property_rules.step,
        property_rules.outcome,
        row_number() over (
            partition by new_events.source, new_events.event_id, new_events.properties
            order by
                property_rules.source desc nulls last,
                case property_rules.match when 'equals' then 1 when 'prefix' then 2 else 3 end asc,
                length(property_rules.pattern) desc nulls last,
                property_rules.property asc nulls last,
                property_rules.pattern asc nulls last
        ) as match_rank
    from new_events
    inner join property_rules
        on
            new_events.event_name = property_rules.event_name
            and property_rules.source in ('', new_events.source)
    where
        (
            property_rules.match = 'equals'
            and {{ json_text('new_events.properties', 'property_rules.property') }} = property_rules.pattern
        )
        or (
            property_rules.match = 'prefix'
            and substring(
                {{ json_text('new_events.properties', 'property_rules.property') }}, 1, length(property_rules.pattern)
            ) = property_rules.pattern
        )
        or (
            property_rules.match = ''
            and {{ json_text('new_events.properties', 'property_rules.property') }} is not null
        )

),

best as (

    select
        cast(matching.source as string) as source,
        cast(matching.event_id as string) as event_id,
        cast(matching.properties as string) as properties,
        cast(matching.behaviour as string) as behaviour,
        cast(matching.feature as string) as feature,
        cast(matching.step as string) as step,
        cast(matching.outcome as string) as outcome
    from matching
    where matching.match_rank = 1

)

select * from best
