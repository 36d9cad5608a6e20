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

-- The first stage that fits; the other traits decide theirs, so that stage and trait never contradict each other.
decided as (

    select
        user_features.user_id,
        user_features.silent_days,
        user_features.active_days_28d,
        user_features.core_value_28d,
        user_features.core_value_first_7d,
        user_features.days_since_start,
        user_features.active_days_28d as score,
        case
            when user_features.is_cancelled then 'churned_by_cancelling'
            when user_features.silent_days >= 90 then 'churned_by_silence'
            when dormant.value then 'dormant'
            when at_risk.value then 'slipping'
            when resurrected.value then 'resurrected'
            when
                user_features.core_value_28d >= 1
                and (
                    user_features.active_days_28d >= 6
                    or (coalesce(prior_state.value = 'engaged', false) and user_features.active_days_28d >= 3)
                )
                then 'engaged'
            when activated.value then 'activated'
            else 'new'
        end as rule
    from user_features
    inner join activated on user_features.user_id = activated.user_id
    inner join at_risk on user_features.user_id = at_risk.user_id
    inner join dormant on user_features.user_id = dormant.user_id
    inner join resurrected on user_features.user_id = resurrected.user_id
    left join prior_state on user_features.user_id = prior_state.entity_id

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(
            case when decided.rule in ('churned_by_cancelling', 'churned_by_silence') then 'churned' else decided.rule end as string
        ) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='true',
            features={
                'silent_days': 'decided.silent_days',
                'active_days_28d': 'decided.active_days_28d',
                'core_value_28d': 'decided.core_value_28d',
                'core_value_first_7d': 'decided.core_value_first_7d',
                'days_since_start': 'decided.days_since_start',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
