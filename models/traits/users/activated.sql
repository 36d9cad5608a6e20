with user_features as (

    select * from {{ ref('user_features') }}
    where {{ applies_to() }}

),

thresholds as (

    select * from {{ ref('activated__thresholds') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'activated'

),

needs as (

    {{ unobserved_needs(ref('observed_behaviours')) }}

),

judged as (

    select
        user_features.*,
        thresholds.*,
        needs.not_observed,
        coalesce(prior_state.value, '') as prior,
        {{ derived_values() }}
    from user_features
    cross join thresholds
    cross join needs
    left join prior_state on user_features.user_id = prior_state.entity_id

),

decided as (

    select
        judged.*,
        {{ decided_rule() }} as rule,
        {{ decided_eligible() }} as is_eligible
    from judged

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast({{ decided_value() }} as boolean) as value,
        cast({{ decided_score() }} as double) as score,
        cast({{ evidence() }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
