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

extracted as (

    select
        new_profiles.source,
        new_profiles.event_id,
        attribute_catalog.entity_type,
        new_profiles.node_key,
        new_profiles.account_id,
        new_profiles.occurred_at,
        attribute_catalog.attribute,
        {{ json_text('new_profiles.properties', 'attribute_catalog.property') }} as value,
        new_profiles.load_id
    from new_profiles
    inner join attribute_catalog
        on
            (new_profiles.event_type = 'identify' and attribute_catalog.entity_type = 'user')
            or (
                new_profiles.event_type = 'group'
                and new_profiles.account_id is not null
                and attribute_catalog.entity_type in ('account', 'membership')
            )
    where new_profiles.properties is not null

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
        max(extracted.value) as value,
        max(extracted.load_id) as load_id
    from extracted
    where extracted.value != ''
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
        cast(rebuilt.value as string) as value,
        cast(rebuilt.load_id as bigint) as load_id
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('new_profiles')) }}

)

select * from written
