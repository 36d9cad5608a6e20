{{ config(materialized=in_place('view')) }}

with new_events as (

    select * from {{ ref('new_events') }}

),

property_rules as (

    select * from {{ ref('catalog_rules') }}
    where property != ''

),

-- Only events whose name has a rule on a property pay for reading their properties. Rules are numbered by precedence.
meanings as (

    select
        cast(new_events.source as string) as source,
        cast(new_events.event_id as string) as event_id,
        cast(new_events.event_name as string) as event_name,
        cast(new_events.properties as string) as properties,
        cast(min(property_rules.rule_key) as bigint) as rule_key
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
    group by new_events.source, new_events.event_id, new_events.event_name, new_events.properties

)

select * from meanings
