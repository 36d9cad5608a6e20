{{ config(materialized=in_place('view')) }}

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

event_kinds as (

    select * from {{ ref('event_kinds') }}

),

catalog_rules as (

    select * from {{ ref('catalog_rules') }}

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
        cast(coalesce(dirty_events.account_key, 0) as bigint) as account_key,
        cast({{ "coalesce(dirty_events.native_session_id, '')" if var('session_ids') == 'native' else "''" }} as string)
            as native_session_id,
        cast(dirty_events.occurred_at as timestamp) as occurred_at,
        -- What Snowplow says of its profiles makes none of them a user who has said who they are.
        cast(
            dirty_events.is_identified and not (event_kinds.source = 'snowplow' and event_kinds.event_type = 'alias') as boolean
        ) as is_identified,
        cast(coalesce(catalog_rules.behaviour, '') as string) as behaviour,
        cast(coalesce(catalog_rules.outcome, '') as string) as outcome
    from dirty_events
    inner join event_kinds on dirty_events.kind_key = event_kinds.kind_key
    left join catalog_rules on dirty_events.rule_key = catalog_rules.rule_key
    left join cuts
        on
            dirty_events.node_key = cuts.node_key
            and dirty_events.bucket = cuts.bucket
            and dirty_events.occurred_at >= cuts.valid_from
            and dirty_events.occurred_at < cuts.valid_to

)

select * from final
