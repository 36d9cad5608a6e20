{{ config(materialized='view') }}

with attribute_catalog as (

    select * from {{ ref('attribute_catalog') }}

),

rules as (

    select
        cast(attribute_catalog.entity_type as string) as entity_type,
        cast(attribute_catalog.property as string) as property,
        cast(attribute_catalog.attribute as string) as attribute
    from attribute_catalog

)

select * from rules
