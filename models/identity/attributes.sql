{{ config(
    materialized=in_place('incremental'),
    partition_by='entity_type',
    meta={'replaces': {
        'dirty': 'dirty_attributes',
        'condition': 'dirty.entity_type = stored.entity_type and dirty.entity_id = stored.entity_id',
    }},
) }}

with event_attributes as (

    select * from {{ ref('event_attributes') }}

),

node_owners as (

    select * from {{ ref('node_owners') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

dirty_attributes as (

    select * from {{ ref('dirty_attributes') }}

),

stated as (

    select
        event_attributes.entity_type,
        identity_nodes.node_id as entity_id,
        event_attributes.attribute,
        event_attributes.occurred_at,
        event_attributes.value
    from event_attributes
    inner join node_owners
        on
            event_attributes.node_key = node_owners.node_key
            and event_attributes.occurred_at >= node_owners.valid_from
            and event_attributes.occurred_at < node_owners.valid_to
    inner join identity_nodes on node_owners.user_key = identity_nodes.node_key
    where
        event_attributes.entity_type = 'user'
        and event_attributes.occurred_at < {{ as_of() }}
    union all
    select
        event_attributes.entity_type,
        event_attributes.account_id as entity_id,
        event_attributes.attribute,
        event_attributes.occurred_at,
        event_attributes.value
    from event_attributes
    where
        event_attributes.entity_type = 'account'
        and event_attributes.occurred_at < {{ as_of() }}
        {%- if is_incremental() %}
        and event_attributes.account_id in (
            select dirty_attributes.entity_id from dirty_attributes
            where dirty_attributes.entity_type = 'account'
        )
        {%- endif %}

),

instants as (

    select
        stated.entity_type,
        stated.entity_id,
        stated.attribute,
        stated.occurred_at,
        max(stated.value) as value
    from stated
    group by stated.entity_type, stated.entity_id, stated.attribute, stated.occurred_at

),

with_previous as (

    select
        instants.*,
        lag(instants.value) over (
            partition by instants.entity_type, instants.entity_id, instants.attribute
            order by instants.occurred_at asc nulls last
        ) as previous_value
    from instants

),

rebuilt as (

    select
        with_previous.entity_type,
        with_previous.entity_id,
        with_previous.attribute,
        with_previous.value,
        with_previous.occurred_at as valid_from,
        lead(with_previous.occurred_at) over (
            partition by with_previous.entity_type, with_previous.entity_id, with_previous.attribute
            order by with_previous.occurred_at asc nulls last
        ) as valid_to
    from with_previous
    where with_previous.previous_value is null or with_previous.previous_value != with_previous.value

),

final as (

    select
        cast(rebuilt.entity_type as string) as entity_type,
        cast(rebuilt.entity_id as string) as entity_id,
        cast(rebuilt.attribute as string) as attribute,
        cast(rebuilt.value as string) as value,
        cast(rebuilt.valid_from as timestamp) as valid_from,
        cast(rebuilt.valid_to as timestamp) as valid_to
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('dirty_attributes')) }}

)

select * from written
