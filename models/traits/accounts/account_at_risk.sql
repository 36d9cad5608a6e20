with account_features as (

    select * from {{ ref('account_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'account_at_risk'

),

prior_thresholds as (

    select
        max(case when threshold = 'enter_percent' then value end) as enter_percent,
        max(case when threshold = 'exit_percent' then value end) as exit_percent
    from {{ source('state', 'trait_thresholds') }}
    where trait = 'account_at_risk'

),

-- A week is compared with the seven weeks before it: fewer would make one holiday the norm.
weeks as (

    select
        account_features.account_id,
        account_features.events_7d,
        account_features.silent_days,
        account_features.is_cancelled,
        account_features.trial_started_date is not null and account_features.last_purchase_at is null as has_not_bought,
        (account_features.events_28d - account_features.events_7d + account_features.previous_events_28d) / 7.0 as usual_week,
        coalesce(prior_state.value = 'true', false) as was_member
    from account_features
    left join prior_state on account_features.account_id = prior_state.entity_id

),

-- When everybody is on holiday nobody is at risk: an account is compared with what became of the whole population.
population as (

    select least(1.0, sum(weeks.events_7d) / nullif(sum(weeks.usual_week), 0)) as population_ratio
    from weeks
    where not weeks.is_cancelled

),

scored as (

    select
        weeks.*,
        {{ rounded('weeks.usual_week', 1) }} as usual_week_events,
        not weeks.is_cancelled and not weeks.has_not_bought and weeks.usual_week >= 15 and weeks.silent_days < 28 as is_eligible,
        {{ rounded('coalesce(100.0 * weeks.events_7d / nullif(weeks.usual_week * population.population_ratio, 0), 100)', 0) }}
            as week_percent
    from weeks
    cross join population

),

todays_thresholds as (

    select
        count(*) as eligible_count,
        percentile_cont(0.05) within group (order by scored.week_percent asc) as enter_percent,
        percentile_cont(0.10) within group (order by scored.week_percent asc) as exit_percent
    from scored
    where scored.is_eligible

),

-- Where all accounts do well the lowest twentieth does well, too: only less than 30 percent of the usual counts.
thresholds as (

    select
        todays_thresholds.eligible_count,
        {{ rounded('least(30, ' ~ smoothed('todays_thresholds.enter_percent', 'prior_thresholds.enter_percent') ~ ')', 1) }}
            as enter_percent,
        {{ rounded('least(45, ' ~ smoothed('todays_thresholds.exit_percent', 'prior_thresholds.exit_percent') ~ ')', 1) }}
            as exit_percent
    from todays_thresholds
    cross join prior_thresholds

),

decided as (

    select
        scored.*,
        thresholds.*,
        scored.week_percent as score,
        case
            when thresholds.eligible_count < {{ var('minimum_population') }} then 'not_enough_evidence'
            when scored.is_cancelled then 'cancelled'
            when scored.has_not_bought then 'no_customer'
            when scored.silent_days >= 28 then 'gone'
            when scored.usual_week < 15 then 'light_use'
            when scored.week_percent < thresholds.enter_percent then 'far_below_usual'
            when scored.was_member and scored.week_percent < thresholds.exit_percent then 'still_below_usual'
            else 'as_usual'
        end as rule
    from scored
    cross join thresholds

),

final as (

    select
        cast(decided.account_id as string) as account_id,
        cast(decided.rule in ('far_below_usual', 'still_below_usual') as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'events_7d': 'decided.events_7d',
                'silent_days': 'decided.silent_days',
                'usual_week_events': 'cast(decided.usual_week_events as decimal(18, 1))',
                'week_percent': 'cast(decided.week_percent as bigint)',
            },
            thresholds={
                'enter_percent': 'cast(decided.enter_percent as decimal(18, 1))',
                'exit_percent': 'cast(decided.exit_percent as decimal(18, 1))',
                'eligible_count': 'decided.eligible_count',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
