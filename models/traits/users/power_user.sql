with user_features as (

    select * from {{ ref('user_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'power_user'

),

prior_thresholds as (

    select
        max(case when threshold = 'enter_score' then value end) as enter_score,
        max(case when threshold = 'exit_score' then value end) as exit_score
    from {{ source('state', 'trait_thresholds') }}
    where trait = 'power_user'

),

-- Coming often and getting value both count, and neither replaces the other; the logarithm keeps one busy hour small.
scored as (

    select
        user_features.user_id,
        user_features.active_days_28d,
        user_features.core_value_28d,
        user_features.active_days_28d > 0 as is_eligible,
        coalesce(prior_state.value = 'true', false) as was_member,
        {{ rounded('sqrt(user_features.active_days_28d * ln(1 + user_features.core_value_28d))', 2) }} as score
    from user_features
    left join prior_state on user_features.user_id = prior_state.entity_id

),

todays_thresholds as (

    select
        count(*) as eligible_count,
        percentile_cont(0.92) within group (order by scored.score asc) as enter_score,
        percentile_cont(0.85) within group (order by scored.score asc) as exit_score
    from scored
    where scored.is_eligible

),

thresholds as (

    select
        todays_thresholds.eligible_count,
        {{ rounded(smoothed('todays_thresholds.enter_score', 'prior_thresholds.enter_score'), 2) }} as enter_score,
        {{ rounded(smoothed('todays_thresholds.exit_score', 'prior_thresholds.exit_score'), 2) }} as exit_score
    from todays_thresholds
    cross join prior_thresholds

),

-- The floor is absolute: in a sleepy population the best tenth may still not be power users. Ties at the cut fall outside.
decided as (

    select
        scored.*,
        thresholds.*,
        case
            when thresholds.eligible_count < {{ var('minimum_population') }} then 'not_enough_evidence'
            when not scored.is_eligible then 'inactive'
            when scored.active_days_28d < 3 or scored.core_value_28d < 3 then 'below_floor'
            when scored.score > thresholds.enter_score then 'above_cut'
            when scored.was_member and scored.score > thresholds.exit_score then 'still_high'
            else 'below_cut'
        end as rule
    from scored
    cross join thresholds

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(decided.rule in ('above_cut', 'still_high') as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'active_days_28d': 'decided.active_days_28d',
                'core_value_28d': 'decided.core_value_28d',
                'score': 'cast(decided.score as decimal(18, 2))',
            },
            thresholds={
                'enter_score': 'cast(decided.enter_score as decimal(18, 2))',
                'exit_score': 'cast(decided.exit_score as decimal(18, 2))',
                'eligible_count': 'decided.eligible_count',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
