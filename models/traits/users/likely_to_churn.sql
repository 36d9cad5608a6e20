with user_features as (

    select * from {{ ref('user_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'likely_to_churn'

),

{{ score_steps('likely_to_churn') }},

-- How late a user is by the user's own rhythm: a week is long for some and short for others; unknown without a gap.
inputs as (

    select
        user_features.user_id,
        user_features.silent_days,
        user_features.active_days_7d,
        user_features.active_days_28d,
        user_features.previous_active_days_28d,
        user_features.core_value_28d,
        user_features.days_since_start,
        user_features.is_cancelled,
        case
            when user_features.median_gap_days is not null
                then {{ rounded('user_features.silent_days / greatest(user_features.median_gap_days, 1)', 1) }}
        end as silence_in_gaps,
        case when user_features.subscribed_at is not null then 1 else 0 end as has_bought,
        case when user_features.is_in_trial then user_features.trial_days_left end as trial_days_left,
        user_features.active_days_28d > 0 and not user_features.is_cancelled as is_eligible
    from user_features

),

-- Every feature that the score may use is named here and in the evidence; learning reads the list from the evidence.
pointed as (

    select
        inputs.*,
        silent_days_bin.points as silent_days_points,
        silence_in_gaps_bin.points as silence_in_gaps_points,
        active_days_7d_bin.points as active_days_7d_points,
        active_days_28d_bin.points as active_days_28d_points,
        previous_active_days_28d_bin.points as previous_active_days_28d_points,
        core_value_28d_bin.points as core_value_28d_points,
        days_since_start_bin.points as days_since_start_points,
        has_bought_bin.points as has_bought_points,
        trial_days_left_bin.points as trial_days_left_points,
        silent_days_bin.points
        + silence_in_gaps_bin.points
        + active_days_7d_bin.points
        + active_days_28d_bin.points
        + previous_active_days_28d_bin.points
        + core_value_28d_bin.points
        + days_since_start_bin.points
        + has_bought_bin.points
        + trial_days_left_bin.points as points
    from inputs
    {{ join_points('silent_days', 'inputs') }}
    {{ join_points('silence_in_gaps', 'inputs') }}
    {{ join_points('active_days_7d', 'inputs') }}
    {{ join_points('active_days_28d', 'inputs') }}
    {{ join_points('previous_active_days_28d', 'inputs') }}
    {{ join_points('core_value_28d', 'inputs') }}
    {{ join_points('days_since_start', 'inputs') }}
    {{ join_points('has_bought', 'inputs') }}
    {{ join_points('trial_days_left', 'inputs') }}

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
            when scored.is_cancelled then 'cancelled'
            when not scored.is_eligible then 'inactive'
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
                'silent_days': 'decided.silent_days',
                'silent_days_points': 'decided.silent_days_points',
                'silence_in_gaps': 'cast(decided.silence_in_gaps as decimal(18, 1))',
                'silence_in_gaps_points': 'decided.silence_in_gaps_points',
                'active_days_7d': 'decided.active_days_7d',
                'active_days_7d_points': 'decided.active_days_7d_points',
                'active_days_28d': 'decided.active_days_28d',
                'active_days_28d_points': 'decided.active_days_28d_points',
                'previous_active_days_28d': 'decided.previous_active_days_28d',
                'previous_active_days_28d_points': 'decided.previous_active_days_28d_points',
                'core_value_28d': 'decided.core_value_28d',
                'core_value_28d_points': 'decided.core_value_28d_points',
                'days_since_start': 'decided.days_since_start',
                'days_since_start_points': 'decided.days_since_start_points',
                'has_bought': 'decided.has_bought',
                'has_bought_points': 'decided.has_bought_points',
                'trial_days_left': 'decided.trial_days_left',
                'trial_days_left_points': 'decided.trial_days_left_points',
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
