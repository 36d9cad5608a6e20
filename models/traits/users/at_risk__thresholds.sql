with user_features as (

    select * from {{ ref('user_features') }}

),

prior_thresholds as (

    select
        max(case when threshold = 'usual_active_days' then value end) as usual_active_days,
        max(case when threshold = 'population_gap_days' then value end) as population_gap_days
    from {{ source('state', 'trait_thresholds') }}
    where trait = 'at_risk'

),

-- How engaged a user usually is, and how long a user usually stays away.
todays_population as (

    select
        count(*) as population_count,
        percentile_cont(0.50) within group (order by user_features.active_days_before_silence asc) as usual_active_days,
        percentile_cont(0.50) within group (
            order by case when user_features.gap_count >= 3 then user_features.long_gap_days end asc
        ) as population_gap_days
    from user_features
    where {{ population('at_risk') }}

),

final as (

    select
        cast('at_risk' as string) as trait,
        cast(todays_population.population_count as bigint) as population_count,
        cast(
            {{ rounded(smoothed('todays_population.usual_active_days', 'prior_thresholds.usual_active_days'), 1) }} as double
        ) as usual_active_days,
        cast(
            {{ rounded(smoothed('todays_population.population_gap_days', 'prior_thresholds.population_gap_days'), 1) }} as double
        ) as population_gap_days
    from todays_population
    cross join prior_thresholds

)

select * from final
