with user_features as (

    select * from {{ ref('user_features') }}

),

activated as (

    select * from {{ ref('activated') }}

),

at_risk as (

    select * from {{ ref('at_risk') }}

),

dormant as (

    select * from {{ ref('dormant') }}

),

resurrected as (

    select * from {{ ref('resurrected') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'lifecycle_stage'

),

needs as (

    {{ unobserved_needs(ref('observed_behaviours')) }}

),

-- The other traits decide their stages, so that stage and trait never contradict each other.
judged as (

    select
        user_features.*,
        needs.not_observed,
        coalesce(prior_state.value, '') as prior,
        {{ judged_value('activated') }} as activated,
        {{ judged_value('at_risk') }} as at_risk,
        {{ judged_value('dormant') }} as dormant,
        {{ judged_value('resurrected') }} as resurrected,
        {{ derived_values() }}
    from user_features
    cross join needs
    left join activated on user_features.user_id = activated.user_id
    left join at_risk on user_features.user_id = at_risk.user_id
    left join dormant on user_features.user_id = dormant.user_id
    left join resurrected on user_features.user_id = resurrected.user_id
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
        cast({{ decided_value() }} as string) as value,
        cast({{ decided_score() }} as double) as score,
        cast({{ evidence() }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
