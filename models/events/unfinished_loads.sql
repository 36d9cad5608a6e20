{%- set tables = [stored('events', 'quarantined_events'), stored('events', 'own_deliveries')] | select | list -%}

with known as (

    {%- for table in tables %}

    select stored.load_id
    from {{ table }} as stored
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- else %}

    select catalog_rules.source as load_id
    from {{ ref('catalog_rules') }} as catalog_rules
    where false

    {%- endfor %}

),

final as (

    select distinct cast(known.load_id as bigint) as load_id
    from known
    where cast(known.load_id as bigint) > {{ loaded_after() }}

)

select * from final
