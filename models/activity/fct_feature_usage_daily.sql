{{ config(
    materialized='incremental',
    partition_by='activity_date',
    meta={'replaces': {
        'dirty': 'dirty_users',
        'condition': 'dirty.user_key = stored.user_key and stored.activity_date >= dirty.rebuild_date',
    }},
) }}
-- depends_on: {{ ref('dirty_users') }}

with usage_buckets as (

    select * from {{ ref('usage_buckets') }}

),

node_owners as (

    select * from {{ ref('node_owners') }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

grouped as (

    select
        node_owners.user_key,
        usage_buckets.account_id,
        usage_buckets.activity_date,
        usage_buckets.feature,
        sum(usage_buckets.event_count) as event_count
    from usage_buckets
    inner join node_owners
        on
            usage_buckets.node_key = node_owners.node_key
            and usage_buckets.first_event_at >= node_owners.valid_from
            and usage_buckets.first_event_at < node_owners.valid_to
            and usage_buckets.activity_date >= node_owners.rebuild_date
    where usage_buckets.feature != ''
    group by node_owners.user_key, usage_buckets.account_id, usage_buckets.activity_date, usage_buckets.feature

),

rebuilt as (

    select
        grouped.*,
        identity_nodes.node_id as user_id
    from grouped
    inner join identity_nodes on grouped.user_key = identity_nodes.node_key

),

final as (

    select
        cast(rebuilt.user_key as bigint) as user_key,
        cast(rebuilt.user_id as string) as user_id,
        cast(rebuilt.account_id as string) as account_id,
        cast(rebuilt.activity_date as date) as activity_date,
        cast(rebuilt.feature as string) as feature,
        cast(rebuilt.event_count as bigint) as event_count
    from rebuilt

),

written as (

    {{ with_kept('final', ref('dirty_users')) }}

)

select * from written
