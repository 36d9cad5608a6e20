{%- set fct_sessions = stored('sessions', 'fct_sessions') -%}

with dirty_buckets as (

    select * from {{ ref('dirty_buckets') }}

),

owner_moves as (

    select * from {{ ref('owner_moves') }}

),

identity_links as (

    select * from {{ ref('identity_links') }}

),

identity_merges as (

    select * from {{ ref('identity_merges') }}

),

activity_buckets as (

    select * from {{ ref('activity_buckets') }}

),


-- Every user who owns a part of a dirty bucket.
bucket_owners as (

    select
        coalesce(identity_links.user_key, dirty_buckets.node_key) as user_key,
        {{ bucket_start('dirty_buckets.bucket', var('session_gap_minutes')) }} as dirty_from
    from dirty_buckets
    left join identity_links
        on
            dirty_buckets.node_key = identity_links.anonymous_key
            and identity_links.valid_from
            < {{ bucket_start('dirty_buckets.bucket', var('session_gap_minutes')) }}
            + interval '{{ var("session_gap_minutes") }} minutes'
            and identity_links.valid_to >= {{ bucket_start('dirty_buckets.bucket', var('session_gap_minutes')) }}

),

moves as (

    select * from owner_moves
    where owner_moves.since_watermark = {{ since_watermark() }}

),

link_moves as (

    select moves.node_key
    from moves
    where moves.cause = 'link'

),

-- A bucket that has become empty counts: it shows that something was there.
moved_buckets as (

    select
        activity_buckets.node_key,
        activity_buckets.first_event_at
    from activity_buckets
    where activity_buckets.node_key in (select link_moves.node_key from link_moves)
    union all
    select
        dirty_buckets.node_key,
        {{ bucket_start('dirty_buckets.bucket', var('session_gap_minutes')) }} as first_event_at
    from dirty_buckets
    where dirty_buckets.node_key in (select link_moves.node_key from link_moves)

),

first_buckets as (

    select
        moved_buckets.node_key,
        min(moved_buckets.first_event_at) as first_event_at
    from moved_buckets
    group by moved_buckets.node_key

),

-- A device that gets another user dirties both users from its first event on; a merge dirties all of both histories.
moved_owners as (

    select
        moves.user_key,
        case
            when moves.cause = 'merge' then moves.moved_from
            else greatest(moves.moved_from, first_buckets.first_event_at)
        end as dirty_from
    from moves
    left join first_buckets on moves.node_key = first_buckets.node_key
    where moves.cause = 'merge' or first_buckets.first_event_at is not null

),

every_owner as (

    select
        bucket_owners.user_key,
        bucket_owners.dirty_from
    from bucket_owners
    union all
    select
        moved_owners.user_key,
        moved_owners.dirty_from
    from moved_owners

),

-- The user of that key, and the user that it was merged into.
canonical as (

    select
        every_owner.user_key,
        every_owner.dirty_from
    from every_owner
    union all
    select
        identity_merges.canonical_key as user_key,
        every_owner.dirty_from
    from every_owner
    inner join identity_merges on every_owner.user_key = identity_merges.user_key

),

dirty as (

    select
        canonical.user_key,
        min(canonical.dirty_from) as dirty_from
    from canonical
    where {{ in_increment() }}
    group by canonical.user_key

),

-- A visit that reaches to within a gap of the first change is rebuilt from its start, for its later part may grow.
visits as (

    {%- if fct_sessions and var('session_ids') == 'native' %}

    -- Native sessions may be parallel. What is rebuilt begins where none of the user's visits can still go on.
    select
        chained.user_key,
        max(case when chained.begins_chain then chained.visit_started_at end) as visit_started_at
    from (
        select
            before.*,
            coalesce(
                before.visit_started_at > max(before.may_last_until) over (
                    partition by before.user_key
                    order by before.visit_started_at asc nulls last, before.may_last_until asc nulls last
                    rows between unbounded preceding and 1 preceding
                ),
                true
            ) as begins_chain
        from (
            select
                dirty.user_key,
                dirty.dirty_from,
                known.visit_started_at,
                case
                    when known.native_session_id is null
                        then known.ended_at + interval '{{ var("session_gap_minutes") }} minutes'
                    else known.ended_at + interval '{{ var("session_max_minutes") }} minutes'
                end as may_last_until
            from dirty
            inner join {{ fct_sessions }} as known
                on
                    dirty.user_key = known.user_key
                    and dirty.dirty_from > known.visit_started_at
        ) as before
    ) as chained
    group by chained.user_key
    having max(chained.may_last_until) >= max(chained.dirty_from)

    {%- elif fct_sessions %}

    select
        dirty.user_key,
        min(known.visit_started_at) as visit_started_at
    from dirty
    inner join {{ fct_sessions }} as known
        on
            dirty.user_key = known.user_key
            and dirty.dirty_from > known.started_at
            and dirty.dirty_from - interval '{{ var("session_gap_minutes") }} minutes' <= known.ended_at
    group by dirty.user_key

    {%- else %}

    select
        dirty.user_key,
        dirty.dirty_from as visit_started_at
    from dirty

    {%- endif %}

),

bounded as (

    select
        dirty.user_key,
        dirty.dirty_from,
        least(dirty.dirty_from, coalesce(visits.visit_started_at, dirty.dirty_from)) as rebuild_from
    from dirty
    left join visits on dirty.user_key = visits.user_key

),

final as (

    select
        cast(bounded.user_key as bigint) as user_key,
        cast(bounded.rebuild_from as timestamp) as rebuild_from,
        cast(
            case
                when bounded.rebuild_from > {{ beginning_of_time() }} then {{ reporting_date('bounded.rebuild_from') }}
                else cast({{ beginning_of_time() }} as date)
            end as date
        ) as rebuild_date
    from bounded

)

select * from final
