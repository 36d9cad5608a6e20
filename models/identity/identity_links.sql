{{ config(
    materialized=in_place('incremental'),
    partition_by='cause',
    meta={'replaces': {
        'dirty': 'touched_devices',
        'condition': 'dirty.anonymous_key = stored.anonymous_key',
    }},
) }}
-- depends_on: {{ ref('owner_moves') }}

with current_links as (

    select * from {{ ref('current_links') }}

),

final as (

    select
        cast(current_links.anonymous_key as bigint) as anonymous_key,
        cast(current_links.valid_from as timestamp) as valid_from,
        cast(current_links.valid_to as timestamp) as valid_to,
        cast(current_links.user_key as bigint) as user_key,
        cast(current_links.identified_at as timestamp) as identified_at,
        cast(current_links.cause as string) as cause
    from current_links

),

written as (

    {{ with_untouched_rows('final', ref('touched_devices')) }}

)

select * from written
