{{ config(
    materialized=in_place('incremental'),
    partition_by='entity_type',
    meta={'replaces': {
        'dirty': 'new_profiles',
        'condition': 'dirty.event_id = stored.event_id and dirty.source = stored.source',
    }},
) }}

with new_profiles as (

    select * from {{ ref('new_profiles') }}

),

attribute_catalog as (

    select * from {{ ref('attribute_catalog') }}

),

-- What an identify or group event carries is said of its user or account. PostHog and Amplitude say it with any event,
-- under $set, $set_once and $unset, beside what only belongs to the event.
profiles as (

    select
        {%- for operation in ['set', 'set_once', 'unset'] %}
        case
            when new_profiles.event_type != 'group' then {{ json_text('new_profiles.properties', "'$" ~ operation ~ "'") }}
        end as {{ operation }}_properties,
        {%- endfor %}
        new_profiles.*
    from new_profiles
    where new_profiles.properties is not null

),

extracted as (

    select
        profiles.source,
        profiles.event_id,
        attribute_catalog.entity_type,
        profiles.node_key,
        profiles.account_id,
        profiles.occurred_at,
        attribute_catalog.attribute,
        {{ stated_value(json_text(
            "case when coalesce(profiles.set_properties, profiles.set_once_properties, profiles.unset_properties) is null "
            "then profiles.properties else profiles.set_properties end",
            'attribute_catalog.property'
        )) }} as set_value,
        {{ stated_value(json_text('profiles.set_once_properties', 'attribute_catalog.property')) }} as set_once_value,
        case
            when position({{ dbt.concat(["'\"'", 'attribute_catalog.property', "'\"'"]) }} in profiles.unset_properties) > 0 then 1
            else 0
        end as is_unset,
        profiles.load_id
    from profiles
    inner join attribute_catalog
        on
            (profiles.event_type != 'group' and attribute_catalog.entity_type = 'user')
            or (
                profiles.event_type = 'group'
                and profiles.account_id is not null
                and attribute_catalog.entity_type in ('account', 'membership')
            )

),

rebuilt as (

    select
        extracted.source,
        extracted.event_id,
        extracted.entity_type,
        extracted.node_key,
        extracted.account_id,
        extracted.occurred_at,
        extracted.attribute,
        case
            when max(extracted.is_unset) = 1 then 'unset'
            when max(extracted.set_value) is not null then 'set'
            else 'set_once'
        end as operation,
        case
            when max(extracted.is_unset) = 0 then coalesce(max(extracted.set_value), max(extracted.set_once_value))
        end as value,
        max(extracted.load_id) as load_id
    from extracted
    where coalesce(extracted.set_value, extracted.set_once_value) is not null or extracted.is_unset = 1
    group by
        extracted.source, extracted.event_id, extracted.entity_type, extracted.node_key, extracted.account_id,
        extracted.occurred_at, extracted.attribute

),

final as (

    select
        cast(rebuilt.source as string) as source,
        cast(rebuilt.event_id as string) as event_id,
        cast(rebuilt.entity_type as string) as entity_type,
        cast(rebuilt.node_key as bigint) as node_key,
        cast(rebuilt.account_id as string) as account_id,
        cast(rebuilt.occurred_at as timestamp) as occurred_at,
        cast(rebuilt.attribute as string) as attribute,
        cast(rebuilt.operation as string) as operation,
        cast(rebuilt.value as string) as value,
        cast(rebuilt.load_id as bigint) as load_id
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('new_profiles')) }}

)

select * from written
