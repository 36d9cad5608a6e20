with user_features as (

    select * from {{ ref('user_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'likely_to_convert'

),

{{ score_steps('likely_to_convert') }},

inputs as (

    select
        user_features.user_id,
        user_features.trial_days_left,
        user_features.silent_days,
        user_features.active_days_28d,
        user_features.core_value_28d,
        user_features.pricing_28d,
        user_features.features_28d,
        user_features.invite_28d,
        user_features.failures_28d,
        user_features.is_in_trial as is_eligible
    from user_features

),

-- Every feature that the score may use is named here and in the evidence; learning reads the list from the evidence.
pointed as (

    select
        inputs.*,
        trial_days_left_bin.points as trial_days_left_points,
        silent_days_bin.points as silent_days_points,
        active_days_28d_bin.points as active_days_28d_points,
        core_value_28d_bin.points as core_value_28d_points,
        pricing_28d_bin.points as pricing_28d_points,
        features_28d_bin.points as features_28d_points,
        invite_28d_bin.points as invite_28d_points,
        failures_28d_bin.points as failures_28d_points,
        trial_days_left_bin.points
        + silent_days_bin.points
        + active_days_28d_bin.points
        + core_value_28d_bin.points
        + pricing_28d_bin.points
        + features_28d_bin.points
        + invite_28d_bin.points
        + failures_28d_bin.points as points
    from inputs
    {{ join_points('trial_days_left', 'inputs') }}
    {{ join_points('silent_days', 'inputs') }}
    {{ join_points('active_days_28d', 'inputs') }}
    {{ join_points('core_value_28d', 'inputs') }}
    {{ join_points('pricing_28d', 'inputs') }}
    {{ join_points('features_28d', 'inputs') }}
    {{ join_points('invite_28d', 'inputs') }}
    {{ join_points('failures_28d', 'inputs') }}

),

scored as (

    select
        pointed.*,
        score_model.is_usable,
        score_model.why_not,
        score_model.enter_percent,
        score_model.exit_percent,
        case when pointed.is_eligible then score_probabilities.probability end as probability,
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
            when not scored.is_usable then 'not_enough_evidence'
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
        cast(decided.probability as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'trial_days_left': 'decided.trial_days_left',
                'trial_days_left_points': 'decided.trial_days_left_points',
                'silent_days': 'decided.silent_days',
                'silent_days_points': 'decided.silent_days_points',
                'active_days_28d': 'decided.active_days_28d',
                'active_days_28d_points': 'decided.active_days_28d_points',
                'core_value_28d': 'decided.core_value_28d',
                'core_value_28d_points': 'decided.core_value_28d_points',
                'pricing_28d': 'decided.pricing_28d',
                'pricing_28d_points': 'decided.pricing_28d_points',
                'features_28d': 'decided.features_28d',
                'features_28d_points': 'decided.features_28d_points',
                'invite_28d': 'decided.invite_28d',
                'invite_28d_points': 'decided.invite_28d_points',
                'failures_28d': 'decided.failures_28d',
                'failures_28d_points': 'decided.failures_28d_points',
                'points': 'decided.points',
                'probability_percent': 'cast(decided.probability_percent as decimal(18, 1))',
                'why_not': 'case when not decided.is_usable then ' ~ quoted('decided.why_not') ~ ' end',
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
