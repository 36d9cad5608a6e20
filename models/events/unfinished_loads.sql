{%- set quarantined_events = stored('events', 'quarantined_events') -%}

with known as (

    {%- if quarantined_events %}

    select stored.load_id
    from {{ quarantined_events }} as stored

    {%- else %}

    select catalog_rules.source as load_id
    from {{ ref('catalog_rules') }} as catalog_rules
    where false

    {%- endif %}

),

final as (

    select distinct cast(known.load_id as bigint) as load_id
    from known
    where cast(known.load_id as bigint) > {{ loaded_after() }}

)

select * from final
