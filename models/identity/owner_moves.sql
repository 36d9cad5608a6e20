{{ config(materialized=in_place('incremental'), incremental_strategy='append') }}
{%- set identity_links = stored('identity', 'identity_links') -%}
{%- set identity_merges = stored('identity', 'identity_merges') -%}

with current_links as (

    select * from {{ ref('current_links') }}

),

touched_devices as (

    select * from {{ ref('touched_devices') }}

),

current_merges as (

    select * from {{ ref('current_merges') }}

),

touched_merges as (

    select * from {{ ref('touched_merges') }}

),


links_now as (

    select
        current_links.anonymous_key,
        current_links.valid_from,
        current_links.valid_to,
        current_links.user_key
    from current_links

),

links_before as (

    {%- if identity_links %}

    select
        known.anonymous_key,
        known.valid_from,
        known.valid_to,
        known.user_key
    from {{ identity_links }} as known
    where known.anonymous_key in (select touched_devices.anonymous_key from touched_devices)

    {%- else %}

    select * from links_now
    where false

    {%- endif %}

),

added_links as (

    select * from links_now
    except
    select * from links_before

),

removed_links as (

    select * from links_before
    except
    select * from links_now

),

changed_links as (

    select * from added_links
    union all
    select * from removed_links

),

merges_before as (

    {%- if identity_merges %}

    select
        known.user_key,
        known.canonical_key
    from {{ identity_merges }} as known
    where known.user_key in (select touched_merges.user_key from touched_merges)

    {%- else %}

    select
        touched_merges.user_key,
        touched_merges.user_key as canonical_key
    from touched_merges
    where false

    {%- endif %}

),

-- A user in no merge is the canonical user.
changed_merges as (

    select
        touched_merges.user_key,
        coalesce(merges_before.canonical_key, touched_merges.user_key) as canonical_before,
        coalesce(current_merges.canonical_key, touched_merges.user_key) as canonical_now
    from touched_merges
    left join merges_before on touched_merges.user_key = merges_before.user_key
    left join current_merges on touched_merges.user_key = current_merges.user_key
    where
        coalesce(merges_before.canonical_key, touched_merges.user_key)
        != coalesce(current_merges.canonical_key, touched_merges.user_key)

),

moves as (

    select
        'link' as cause,
        changed_links.anonymous_key as node_key,
        changed_links.user_key,
        changed_links.valid_from as moved_from
    from changed_links
    union all
    -- A device without a link is a user by itself.
    select
        'link' as cause,
        changed_links.anonymous_key as node_key,
        changed_links.anonymous_key as user_key,
        {{ beginning_of_time() }} as moved_from
    from changed_links
    union all
    select
        'merge' as cause,
        changed_merges.user_key as node_key,
        changed_merges.canonical_before as user_key,
        {{ beginning_of_time() }} as moved_from
    from changed_merges
    union all
    select
        'merge' as cause,
        changed_merges.user_key as node_key,
        changed_merges.canonical_now as user_key,
        {{ beginning_of_time() }} as moved_from
    from changed_merges

),

final as (

    select distinct
        cast(moves.cause as string) as cause,
        cast(moves.node_key as bigint) as node_key,
        cast(moves.user_key as bigint) as user_key,
        cast(moves.moved_from as timestamp) as moved_from,
        cast({{ since_watermark() }} as string) as since_watermark
    from moves
    where {{ in_increment() }}

)

select * from final
