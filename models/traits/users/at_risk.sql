with user_features as (

    select * from {{ ref('user_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'at_risk'

),

prior_thresholds as (

    select
        max(case when threshold = 'usual_active_days' then value end) as usual_active_days,
        max(case when threshold = 'population_gap_days' then value end) as population_gap_days
    from {{ source('state', 'trait_thresholds') }}
    where trait = 'at_risk'

),

-- How engaged a user usually is, and how long a user usually stays away, among those seen in the last 90 days.
todays_population as (

    select
        count(*) as population_count,
        percentile_cont(0.50) within group (order by user_features.active_days_before_silence asc) as usual_active_days,
        percentile_cont(0.50) within group (
            order by case when user_features.gap_count >= 3 then user_features.long_gap_days end asc
        ) as population_gap_days
    from user_features
    where user_features.silent_days < 90 and not user_features.is_cancelled

),

population as (

    select
        todays_population.population_count,
        {{ smoothed('todays_population.usual_active_days', 'prior_thresholds.usual_active_days') }} as usual_active_days,
        {{ smoothed('todays_population.population_gap_days', 'prior_thresholds.population_gap_days') }} as population_gap_days
    from todays_population
    cross join prior_thresholds

),

-- Two gaps say little about a person: the own 90th percentile is shrunk towards the population's with a weight of 5 gaps.
rhythm as (

    select
        user_features.user_id,
        user_features.silent_days,
        user_features.adjusted_silent_days,
        user_features.active_days_before_silence,
        user_features.is_cancelled or user_features.has_left as is_cancelled,
        coalesce(prior_state.value = 'true', false) as was_member,
        population.population_count,
        {{ rounded('population.usual_active_days', 1) }} as usual_active_days,
        {{ rounded('population.population_gap_days', 1) }} as population_gap_days,
        {{ rounded(
            '(user_features.gap_count * coalesce(user_features.long_gap_days, 0) + 5 * population.population_gap_days)'
            ~ ' / (user_features.gap_count + 5)', 1
        ) }} as usual_gap_days
    from user_features
    cross join population
    left join prior_state on user_features.user_id = prior_state.entity_id

),

-- To enter, a user was at least as engaged as the median; to stay, the floor of three active days is enough.
scored as (

    select
        rhythm.*,
        {{ rounded('rhythm.adjusted_silent_days / greatest(rhythm.usual_gap_days, 1)', 2) }} as score,
        rhythm.active_days_before_silence >= 3
        and (rhythm.was_member or rhythm.active_days_before_silence >= rhythm.usual_active_days) as was_engaged
    from rhythm

),

decided as (

    select
        scored.*,
        {{ rounded('1.25 * greatest(scored.usual_gap_days, 1)', 1) }} as days_allowed,
        scored.was_engaged and scored.silent_days < 28 and not scored.is_cancelled as is_eligible,
        case
            when
                scored.population_count < {{ var('minimum_population') }} or scored.usual_gap_days is null
                then 'not_enough_evidence'
            when scored.is_cancelled then 'cancelled'
            when not scored.was_engaged then 'never_engaged'
            when scored.silent_days >= 28 then 'dormant'
            when scored.adjusted_silent_days > 1.25 * greatest(scored.usual_gap_days, 1) then 'silent_too_long'
            else 'in_rhythm'
        end as rule
    from scored

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(decided.rule = 'silent_too_long' as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'silent_days': 'decided.silent_days',
                'adjusted_silent_days': 'cast(decided.adjusted_silent_days as decimal(18, 1))',
                'usual_gap_days': 'cast(decided.usual_gap_days as decimal(18, 1))',
                'days_allowed': 'cast(decided.days_allowed as decimal(18, 1))',
                'active_days_before_silence': 'decided.active_days_before_silence',
                'score': 'cast(decided.score as decimal(18, 2))',
            },
            thresholds={
                'usual_active_days': 'cast(decided.usual_active_days as decimal(18, 1))',
                'population_gap_days': 'cast(decided.population_gap_days as decimal(18, 1))',
                'population_count': 'decided.population_count',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
