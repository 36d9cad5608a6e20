{{ config(
    materialized=in_place('incremental'),
    partition_by='activity_date',
    meta={'replaces': {
        'dirty': 'dirty_users',
        'condition': 'dirty.user_key = stored.user_key and stored.activity_date >= dirty.rebuild_date',
    }},
) }}
-- depends_on: {{ ref('dirty_users') }}, {{ ref('account_day_changes') }}

with activity_buckets as (

    {{ dirty_rows(
        ref('activity_buckets'), 'activity_date', ref('node_owners'), 'rebuild_date',
        'known.node_key = dirty.node_key and known.first_event_at >= dirty.valid_from and known.first_event_at < dirty.valid_to'
        ~ ' and known.activity_date >= dirty.rebuild_date',
        columns=['user_key']
    ) }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

grouped as (

    select
        activity_buckets.user_key,
        activity_buckets.account_key,
        activity_buckets.activity_date,
        sum(activity_buckets.event_count) as event_count,
        sum(activity_buckets.identified_event_count) as identified_event_count,
        sum(activity_buckets.failure_count) as failure_count,
        sum(activity_buckets.activation_count) as activation_count,
        sum(activity_buckets.core_value_count) as core_value_count,
        sum(activity_buckets.collaboration_count) as collaboration_count,
        sum(activity_buckets.invite_count) as invite_count,
        sum(activity_buckets.pricing_count) as pricing_count,
        sum(activity_buckets.error_count) as error_count,
        sum(activity_buckets.setup_count) as setup_count,
        sum(activity_buckets.signed_up_count) as signed_up_count,
        sum(activity_buckets.trial_started_count) as trial_started_count,
        sum(activity_buckets.subscribed_count) as subscribed_count,
        sum(activity_buckets.upgraded_count) as upgraded_count,
        sum(activity_buckets.downgraded_count) as downgraded_count,
        sum(activity_buckets.cancelled_count) as cancelled_count,
        sum(activity_buckets.support_count) as support_count,
        sum(activity_buckets.navigation_count) as navigation_count,
        min(activity_buckets.first_event_at) as first_event_at,
        max(activity_buckets.last_event_at) as last_event_at,
        min(activity_buckets.first_activation_at) as first_activation_at,
        min(activity_buckets.first_core_value_at) as first_core_value_at,
        max(activity_buckets.last_pricing_at) as last_pricing_at,
        max(activity_buckets.last_purchase_at) as last_purchase_at,
        max(activity_buckets.last_trial_started_at) as last_trial_started_at,
        max(activity_buckets.last_cancelled_at) as last_cancelled_at
    from activity_buckets
    group by activity_buckets.user_key, activity_buckets.account_key, activity_buckets.activity_date

),

rebuilt as (

    select
        grouped.*,
        user_nodes.node_id as user_id,
        coalesce(account_nodes.node_id, '') as account_id
    from grouped
    inner join identity_nodes as user_nodes on grouped.user_key = user_nodes.node_key
    left join identity_nodes as account_nodes on grouped.account_key = account_nodes.node_key

),

final as (

    select
        cast(rebuilt.user_key as bigint) as user_key,
        cast(rebuilt.user_id as string) as user_id,
        cast(rebuilt.account_id as string) as account_id,
        cast(rebuilt.activity_date as date) as activity_date,
        cast(rebuilt.event_count as bigint) as event_count,
        cast(rebuilt.identified_event_count as bigint) as identified_event_count,
        cast(rebuilt.failure_count as bigint) as failure_count,
        cast(rebuilt.activation_count as bigint) as activation_count,
        cast(rebuilt.core_value_count as bigint) as core_value_count,
        cast(rebuilt.collaboration_count as bigint) as collaboration_count,
        cast(rebuilt.invite_count as bigint) as invite_count,
        cast(rebuilt.pricing_count as bigint) as pricing_count,
        cast(rebuilt.error_count as bigint) as error_count,
        cast(rebuilt.setup_count as bigint) as setup_count,
        cast(rebuilt.signed_up_count as bigint) as signed_up_count,
        cast(rebuilt.trial_started_count as bigint) as trial_started_count,
        cast(rebuilt.subscribed_count as bigint) as subscribed_count,
        cast(rebuilt.upgraded_count as bigint) as upgraded_count,
        cast(rebuilt.downgraded_count as bigint) as downgraded_count,
        cast(rebuilt.cancelled_count as bigint) as cancelled_count,
        cast(rebuilt.support_count as bigint) as support_count,
        cast(rebuilt.navigation_count as bigint) as navigation_count,
        cast(rebuilt.first_event_at as timestamp) as first_event_at,
        cast(rebuilt.last_event_at as timestamp) as last_event_at,
        cast(rebuilt.first_activation_at as timestamp) as first_activation_at,
        cast(rebuilt.first_core_value_at as timestamp) as first_core_value_at,
        cast(rebuilt.last_pricing_at as timestamp) as last_pricing_at,
        cast(rebuilt.last_purchase_at as timestamp) as last_purchase_at,
        cast(rebuilt.last_trial_started_at as timestamp) as last_trial_started_at,
        cast(rebuilt.last_cancelled_at as timestamp) as last_cancelled_at
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('dirty_users')) }}

)

select * from written
