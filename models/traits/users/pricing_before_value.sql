with user_features as (

    select * from {{ ref('user_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'pricing_before_value'

),

-- A single look is curiosity; who is in stays in for two weeks after the last look. Value, or a purchase, ends it at once.
decided as (

    select
        user_features.user_id,
        user_features.pricing_28d,
        user_features.days_since_pricing,
        user_features.pricing_28d as score,
        user_features.first_core_value_at is null as is_eligible,
        case
            when user_features.first_core_value_at is not null then 'has_value'
            when user_features.subscribed_at is not null then 'has_bought'
            when user_features.pricing_28d = 0 then 'no_intent'
            when user_features.days_since_pricing >= 14 then 'interest_gone'
            when user_features.pricing_28d >= 3 then 'looks_at_prices'
            when coalesce(prior_state.value = 'true', false) then 'looks_at_prices'
            else 'few_looks'
        end as rule
    from user_features
    left join prior_state on user_features.user_id = prior_state.entity_id

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(decided.rule = 'looks_at_prices' as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'pricing_28d': 'decided.pricing_28d',
                'days_since_pricing': 'decided.days_since_pricing',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
