{{ config(materialized='view') }}

-- depends_on: {{ ref('dirty_buckets') }}

with dirty_events as (

    {%- if rebuilding() %}

    select * from {{ ref('visible_events') }}

    {%- else %}

    {{ dirty_rows(
        ref('visible_events'), 'occurred_date', ref('dirty_buckets'), 'bucket_date',
        'known.node_key = dirty.node_key and known.bucket = dirty.bucket'
    ) }}

    {%- endif %}

),

identity_links as (

    select * from {{ ref('identity_links') }}

),

cuts as (

    select
        identity_links.anonymous_key as node_key,
        {{ bucket_number('identity_links.valid_from', var('session_gap_minutes')) }} as bucket,
        identity_links.valid_from,
        identity_links.valid_to,
        row_number() over (
            partition by
                identity_links.anonymous_key, {{ bucket_number('identity_links.valid_from', var('session_gap_minutes')) }}
            order by identity_links.valid_from asc nulls last
        ) as part
    from identity_links
    where identity_links.valid_from > {{ beginning_of_time() }}

),

-- The part of a bucket before its first cut is part 0; a bucket without a cut is part 0 as a whole.
final as (

    select
        cast(dirty_events.node_key as bigint) as node_key,
        cast(dirty_events.bucket as bigint) as bucket,
        cast(coalesce(cuts.part, 0) as bigint) as part,
        cast({{ reporting_date('dirty_events.occurred_at') }} as date) as activity_date,
        cast(coalesce(dirty_events.account_id, '') as string) as account_id,
        cast({{ "coalesce(dirty_events.native_session_id, '')" if var('session_ids') == 'native' else "''" }} as string)
            as native_session_id,
        cast(dirty_events.occurred_at as timestamp) as occurred_at,
        cast(dirty_events.user_id is not null as boolean) as is_identified,
        cast(dirty_events.behaviour as string) as behaviour,
        cast(dirty_events.feature as string) as feature,
        cast(dirty_events.step as string) as step,
        cast(dirty_events.outcome as string) as outcome
    from dirty_events
    left join cuts
        on
            dirty_events.node_key = cuts.node_key
            and dirty_events.bucket = cuts.bucket
            and dirty_events.occurred_at >= cuts.valid_from
            and dirty_events.occurred_at < cuts.valid_to

)

select * from final
