with user_features as (

    select * from {{ ref('user_features') }}

),

prior_thresholds as (

    select
        max(case when threshold = 'enter_score' then value end) as enter_score,
        max(case when threshold = 'exit_score' then value end) as exit_score
    from {{ source('state', 'trait_thresholds') }}
    where trait = 'ready_to_upgrade'

),

population as (

    select {{ derived_value('ready_to_upgrade', 'score') }} as score
    from user_features
    where {{ population('ready_to_upgrade') }}

),

todays_thresholds as (

    select
        count(*) as eligible_count,
        percentile_cont(0.90) within group (order by population.score asc) as enter_score,
        percentile_cont(0.85) within group (order by population.score asc) as exit_score
    from population

),

-- Where nobody is interested the top tenth is not either: an intent of 3 to enter, and of 1 to stay, is the least.
final as (

    select
        cast('ready_to_upgrade' as string) as trait,
        cast(todays_thresholds.eligible_count as bigint) as eligible_count,
        cast(
            {{ rounded('greatest(3.0, ' ~ smoothed('todays_thresholds.enter_score', 'prior_thresholds.enter_score') ~ ')', 2) }}
            as double
        ) as enter_score,
        cast(
            {{ rounded('greatest(1.0, ' ~ smoothed('todays_thresholds.exit_score', 'prior_thresholds.exit_score') ~ ')', 2) }}
            as double
        ) as exit_score
    from todays_thresholds
    cross join prior_thresholds

)

select * from final
