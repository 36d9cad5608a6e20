{{ config(
    materialized=in_place('incremental'),
    partition_by='session_date',
    meta={'replaces': {
        'dirty': 'dirty_users',
        'condition': 'dirty.user_key = stored.user_key and stored.started_at >= dirty.rebuild_from',
    }},
) }}
-- depends_on: {{ ref('dirty_users') }}, {{ ref('account_day_changes') }}

with activity_buckets as (

    {{ dirty_rows(
        ref('activity_buckets'), 'activity_date', ref('node_owners'), 'rebuild_date',
        'known.node_key = dirty.node_key and known.first_event_at >= dirty.valid_from and known.first_event_at < dirty.valid_to'
        ~ ' and known.first_event_at >= dirty.rebuild_from',
        columns=['user_key']
    ) }}

),

identity_nodes as (

    select * from {{ ref('identity_nodes') }}

),

-- All events of a bucket lie within one gap, so buckets can be walked instead of events. Devices of one user overlap:
-- what counts is the last event of any bucket before.
with_previous as (

    select
        activity_buckets.*,
        max(activity_buckets.last_event_at) over (
            partition by activity_buckets.user_key, activity_buckets.native_session_id
            order by activity_buckets.first_event_at asc nulls last, activity_buckets.last_event_at asc nulls last
            rows between unbounded preceding and 1 preceding
        ) as previous_at
    from activity_buckets

),

-- A silence longer than the gap begins a new visit; a silence of exactly the gap does not. The tracker says itself which
-- events are of one visit; there it takes a silence that no session can last.
with_start as (

    select
        with_previous.*,
        case
            when with_previous.previous_at is null then true
            when with_previous.native_session_id != ''
                then
                    with_previous.first_event_at
                    > with_previous.previous_at + interval '{{ var("session_max_minutes") }} minutes'
            else
                with_previous.first_event_at
                > with_previous.previous_at + interval '{{ var("session_gap_minutes") }} minutes'
        end as is_start
    from with_previous

),

-- A range, not rows: of buckets that begin at one instant, any may have been taken for the start.
with_visit as (

    select
        with_start.*,
        max(case when with_start.is_start then with_start.first_event_at end) over (
            partition by with_start.user_key, with_start.native_session_id
            order by with_start.first_event_at asc nulls last
            range between unbounded preceding and current row
        ) as visit_started_at
    from with_start

),

-- A visit that does not end is cut at whole numbers of buckets from its first one.
with_part as (

    select
        with_visit.*,
        {{ floor_divide(
            'with_visit.bucket - ' ~ bucket_number('with_visit.visit_started_at', var('session_gap_minutes')),
            (var('session_max_minutes') / var('session_gap_minutes')) | int
        ) }} as visit_part
    from with_visit

),

account_nodes as (

    select * from {{ ref('identity_nodes') }}
    where node_type = 'account'

),

sessions as (

    select
        with_part.user_key,
        with_part.native_session_id,
        with_part.visit_started_at,
        with_part.visit_part,
        {{ min_by('account_nodes.node_id', 'with_part.first_event_at') }} as account_id,
        min(with_part.first_event_at) as started_at,
        max(with_part.last_event_at) as ended_at,
        sum(with_part.event_count) as event_count,
        sum(with_part.activation_count) as activation_count,
        sum(with_part.core_value_count) as core_value_count,
        sum(with_part.collaboration_count) as collaboration_count,
        sum(with_part.invite_count) as invite_count,
        sum(with_part.pricing_count) as pricing_count,
        sum(with_part.error_count) as error_count,
        sum(with_part.setup_count) as setup_count,
        sum(with_part.signed_up_count) as signed_up_count,
        sum(with_part.trial_started_count) as trial_started_count,
        sum(with_part.subscribed_count) as subscribed_count,
        sum(with_part.upgraded_count) as upgraded_count,
        sum(with_part.downgraded_count) as downgraded_count,
        sum(with_part.cancelled_count) as cancelled_count,
        sum(with_part.support_count) as support_count,
        sum(with_part.navigation_count) as navigation_count
    from with_part
    left join account_nodes on with_part.account_key = account_nodes.node_key
    group by with_part.user_key, with_part.native_session_id, with_part.visit_started_at, with_part.visit_part

),

-- Two sessions of one user never begin at one instant, so user and beginning identify a session for good.
rebuilt as (

    select
        sessions.*,
        identity_nodes.node_id as user_id,
        {{ dbt.hash(dbt.concat([
            'identity_nodes.node_id', "'|'", 'cast(' ~ epoch_micros('sessions.started_at') ~ ' as string)',
            "case when sessions.native_session_id = '' then '' else '|' end", 'sessions.native_session_id',
        ])) }} as session_id,
        {{ reporting_date('sessions.started_at') }} as session_date,
        {{ whole_seconds('sessions.started_at', 'sessions.ended_at') }} as duration_seconds
    from sessions
    inner join identity_nodes on sessions.user_key = identity_nodes.node_key

),

final as (

    select
        cast(rebuilt.session_id as string) as session_id,
        cast(rebuilt.user_key as bigint) as user_key,
        cast(rebuilt.user_id as string) as user_id,
        cast(rebuilt.account_id as string) as account_id,
        cast(nullif(rebuilt.native_session_id, '') as string) as native_session_id,
        cast(rebuilt.visit_started_at as timestamp) as visit_started_at,
        cast(rebuilt.started_at as timestamp) as started_at,
        cast(rebuilt.ended_at as timestamp) as ended_at,
        cast(rebuilt.session_date as date) as session_date,
        cast(rebuilt.duration_seconds as bigint) as duration_seconds,
        cast(rebuilt.event_count as bigint) as event_count,
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
        cast(rebuilt.navigation_count as bigint) as navigation_count
    from rebuilt

),

written as (

    {{ with_untouched_rows('final', ref('dirty_users')) }}

)

select * from written
