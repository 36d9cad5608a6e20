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
        event_attributes.operation,
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
        event_attributes.operation,
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

-- Of what is said at one instant, what takes back wins, then what sets, then what sets once.
instants as (

    select
        stated.entity_type,
        stated.entity_id,
        stated.attribute,
        stated.occurred_at,
        max(case when stated.operation = 'unset' then 1 else 0 end) as is_unset,
        max(case when stated.operation = 'set' then stated.value end) as set_value,
        max(case when stated.operation = 'set_once' then stated.value end) as set_once_value
    from stated
    group by stated.entity_type, stated.entity_id, stated.attribute, stated.occurred_at

),

since_unset as (

    select
        instants.*,
        sum(instants.is_unset) over (
            partition by instants.entity_type, instants.entity_id, instants.attribute
            order by instants.occurred_at asc nulls last
            rows between unbounded preceding and current row
        ) as unset_count
    from instants

),

-- What sets once holds only where nothing has been said before, or since it was taken back.
numbered as (

    select
        since_unset.*,
        row_number() over (
            partition by
                since_unset.entity_type, since_unset.entity_id, since_unset.attribute, since_unset.unset_count,
                since_unset.is_unset
            order by since_unset.occurred_at asc nulls last
        ) as saying_number
    from since_unset

),

effective as (

    select
        numbered.entity_type,
        numbered.entity_id,
        numbered.attribute,
        numbered.occurred_at,
        case when numbered.is_unset = 0 then coalesce(numbered.set_value, numbered.set_once_value) end as value
    from numbered
    where numbered.is_unset = 1 or numbered.set_value is not null or numbered.saying_number = 1

),

with_previous as (

    select
        effective.*,
        lag(effective.value) over (
            partition by effective.entity_type, effective.entity_id, effective.attribute
            order by effective.occurred_at asc nulls last
        ) as previous_value
    from effective

),

changes as (

    select
        with_previous.*,
        lead(with_previous.occurred_at) over (
            partition by with_previous.entity_type, with_previous.entity_id, with_previous.attribute
            order by with_previous.occurred_at asc nulls last
        ) as next_change_at
    from with_previous
    where coalesce(with_previous.previous_value, '') != coalesce(with_previous.value, '')

),

rebuilt as (

    select
        changes.entity_type,
        changes.entity_id,
        changes.attribute,
        changes.value,
        changes.occurred_at as valid_from,
        changes.next_change_at as valid_to
    from changes
    where changes.value is not null

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
