with user_features as (

    select * from {{ ref('user_features') }}

),

thresholds as (

    select * from {{ ref('likely_to_convert__thresholds') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'likely_to_convert'

),

needs as (

    {{ unobserved_needs(ref('observed_behaviours')) }}

),

{{ learned_score('likely_to_convert') }},

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
        cast(decided.user_id as string) as user_id,
        cast({{ decided_value() }} as boolean) as value,
        cast({{ decided_score() }} as double) as score,
        cast({{ evidence() }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
