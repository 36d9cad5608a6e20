{{ config(
    materialized=in_place('incremental'),
    partition_by='is_canonical',
    meta={'replaces': {
        'dirty': 'touched_merges',
        'condition': 'dirty.user_key = stored.user_key',
    }},
) }}
-- depends_on: {{ ref('owner_moves') }}

with current_merges as (

    select * from {{ ref('current_merges') }}

),

final as (

    select
        cast(current_merges.user_key as bigint) as user_key,
        cast(current_merges.canonical_key as bigint) as canonical_key,
        cast(current_merges.is_canonical as boolean) as is_canonical
    from current_merges

),

written as (

    {{ with_untouched_rows('final', ref('touched_merges')) }}

)

select * from written
