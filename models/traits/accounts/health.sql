with account_features as (

    select * from {{ ref('account_features') }}
    where {{ applies_to() }}

),

thresholds as (

    select * from {{ ref('health__thresholds') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'health'

),

needs as (

    {{ unobserved_needs(ref('observed_behaviours')) }}

),

{{ learned_score('health') }},

judged as (

    select
        account_features.*,
        thresholds.*,
        needs.not_observed,
        coalesce(prior_state.value, '') as prior,
        {{ derived_values() }}
    from account_features
    cross join thresholds
    cross join needs
    left join prior_state on account_features.account_id = prior_state.entity_id

),

pointed as (

    select
        judged.*,
        {{ points() }}
    from judged
    {{ join_points() }}

),

scored as (

    select
        pointed.*,
        score_probabilities.probability,
        {{ derived_values(after_points=true) }}
    from pointed
    left join score_probabilities on pointed.points = score_probabilities.points

),

decided as (

    select
        scored.*,
        {{ decided_rule() }} as rule,
        {{ decided_eligible() }} as is_eligible
    from scored

),

final as (

    select
        cast(decided.account_id as string) as account_id,
        cast({{ decided_value() }} as bigint) as value,
        cast({{ decided_score() }} as double) as score,
        cast({{ evidence() }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
