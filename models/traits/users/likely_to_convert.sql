with user_features as (

    select * from {{ ref('user_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'likely_to_convert'

),

{{ score_steps('likely_to_convert') }},

-- Prices are viewed by those who compare and by those who buy: only the latter have got value, so their views count apart.
inputs as (

    select
        user_features.user_id,
        case when user_features.trial_started_date is not null then 1 else 0 end as started_trial,
        {{ dbt.datediff('user_features.trial_began_date', as_of_date(), 'day') }} as days_in_trial,
        user_features.trial_days_left,
        user_features.active_days_7d,
        user_features.core_value_28d,
        user_features.pricing_7d,
        user_features.pricing_28d,
        case when user_features.core_value_28d >= 3 then user_features.pricing_7d end as pricing_after_value,
        user_features.is_in_trial as is_eligible
    from user_features

),

-- Every feature that the score may use is named here and in the evidence; learning reads the list from the evidence.
pointed as (

    select
        inputs.*,
        started_trial_bin.points as started_trial_points,
        days_in_trial_bin.points as days_in_trial_points,
        trial_days_left_bin.points as trial_days_left_points,
        active_days_7d_bin.points as active_days_7d_points,
        core_value_28d_bin.points as core_value_28d_points,
        pricing_7d_bin.points as pricing_7d_points,
        pricing_28d_bin.points as pricing_28d_points,
        pricing_after_value_bin.points as pricing_after_value_points,
        started_trial_bin.points
        + days_in_trial_bin.points
        + trial_days_left_bin.points
        + active_days_7d_bin.points
        + core_value_28d_bin.points
        + pricing_7d_bin.points
        + pricing_28d_bin.points
        + pricing_after_value_bin.points as points
    from inputs
    {{ join_points('started_trial', 'inputs') }}
    {{ join_points('days_in_trial', 'inputs') }}
    {{ join_points('trial_days_left', 'inputs') }}
    {{ join_points('active_days_7d', 'inputs') }}
    {{ join_points('core_value_28d', 'inputs') }}
    {{ join_points('pricing_7d', 'inputs') }}
    {{ join_points('pricing_28d', 'inputs') }}
    {{ join_points('pricing_after_value', 'inputs') }}

),

scored as (

    select
        pointed.*,
        score_model.why_not,
        score_model.enter_percent,
        score_model.exit_percent,
        score_probabilities.probability,
        {{ rounded('100 * score_probabilities.probability', 1) }} as probability_percent,
        coalesce(prior_state.value = 'true', false) as was_member
    from pointed
    cross join score_model
    left join score_probabilities on pointed.points = score_probabilities.points
    left join prior_state on pointed.user_id = prior_state.entity_id

),

decided as (

    select
        scored.*,
        case
            when scored.probability is null then 'not_enough_evidence'
            when not scored.is_eligible then 'no_open_trial'
            when scored.probability_percent >= scored.enter_percent then 'likely'
            when scored.was_member and scored.probability_percent >= scored.exit_percent then 'still_likely'
            else 'unlikely'
        end as rule
    from scored

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(decided.rule in ('likely', 'still_likely') as boolean) as value,
        cast(case when decided.is_eligible then decided.probability end as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'started_trial': 'decided.started_trial',
                'started_trial_points': 'decided.started_trial_points',
                'days_in_trial': 'decided.days_in_trial',
                'days_in_trial_points': 'decided.days_in_trial_points',
                'trial_days_left': 'decided.trial_days_left',
                'trial_days_left_points': 'decided.trial_days_left_points',
                'active_days_7d': 'decided.active_days_7d',
                'active_days_7d_points': 'decided.active_days_7d_points',
                'core_value_28d': 'decided.core_value_28d',
                'core_value_28d_points': 'decided.core_value_28d_points',
                'pricing_7d': 'decided.pricing_7d',
                'pricing_7d_points': 'decided.pricing_7d_points',
                'pricing_28d': 'decided.pricing_28d',
                'pricing_28d_points': 'decided.pricing_28d_points',
                'pricing_after_value': 'decided.pricing_after_value',
                'pricing_after_value_points': 'decided.pricing_after_value_points',
                'points': 'decided.points',
                'probability_percent': 'cast(decided.probability_percent as decimal(18, 1))',
                'why_not': 'case when decided.probability is null then ' ~ quoted('decided.why_not') ~ ' end',
            },
            thresholds={
                'enter_percent': 'cast(decided.enter_percent as decimal(18, 1))',
                'exit_percent': 'cast(decided.exit_percent as decimal(18, 1))',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
