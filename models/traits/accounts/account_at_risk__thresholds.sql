with account_features as (

    select * from {{ ref('account_features') }}

),

prior_thresholds as (

    select
        max(case when threshold = 'enter_percent' then value end) as enter_percent,
        max(case when threshold = 'exit_percent' then value end) as exit_percent
    from {{ source('state', 'trait_thresholds') }}
    where trait = 'account_at_risk'

),

-- When everybody is on holiday nobody is at risk: an account is compared with what became of the whole population.
weeks as (

    select
        {{ rounded(
            'least(1.0, sum(account_features.events_7d) / nullif(sum(account_features.events_28d - account_features.events_7d'
            ~ ' + account_features.previous_events_28d) / 7.0, 0))', 3
        ) }} as population_ratio
    from account_features
    where not account_features.is_cancelled

),

population as (

    select {{ derived_value('account_at_risk', 'week_percent') }} as week_percent
    from account_features
    cross join weeks
    where {{ population('account_at_risk') }}

),

todays_thresholds as (

    select
        count(*) as eligible_count,
        percentile_cont(0.05) within group (order by population.week_percent asc) as enter_percent,
        percentile_cont(0.10) within group (order by population.week_percent asc) as exit_percent
    from population

),

-- Where all accounts do well the lowest twentieth does well, too: only less than 30 percent of the usual counts.
final as (

    select
        cast('account_at_risk' as string) as trait,
        cast(todays_thresholds.eligible_count as bigint) as eligible_count,
        cast(weeks.population_ratio as double) as population_ratio,
        cast(
            {{ rounded('least(30, ' ~ smoothed('todays_thresholds.enter_percent', 'prior_thresholds.enter_percent') ~ ')', 1) }}
            as double
        ) as enter_percent,
        cast(
            {{ rounded('least(45, ' ~ smoothed('todays_thresholds.exit_percent', 'prior_thresholds.exit_percent') ~ ')', 1) }}
            as double
        ) as exit_percent
    from todays_thresholds
    cross join weeks
    cross join prior_thresholds

)

select * from final
