with user_features as (

    select * from {{ ref('user_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'activated'

),

prior_thresholds as (

    select max(case when threshold = 'needed_core_values' then value end) as needed_core_values
    from {{ source('state', 'trait_thresholds') }}
    where trait = 'activated'

),

-- Users of whom it is known whether they stayed: those who began five weeks ago or earlier.
matured as (

    select
        least(user_features.core_value_first_7d, 20) as core_values,
        count(*) as user_count,
        count(case when user_features.active_days_weeks_4_5 > 0 then 1 end) as retained_count
    from user_features
    where user_features.days_since_start >= 35
    group by least(user_features.core_value_first_7d, 20)

),

-- How well "at least k core values" separates those who stayed from those who did not.
splits as (

    select
        needed.core_values as needed_core_values,
        sum(case when matured.core_values >= needed.core_values then matured.retained_count else 0 end)
        / nullif(cast(sum(matured.retained_count) as double), 0)
        - sum(case when matured.core_values >= needed.core_values then matured.user_count - matured.retained_count else 0 end)
        / nullif(cast(sum(matured.user_count - matured.retained_count) as double), 0) as separation,
        sum(matured.user_count) as eligible_count
    from matured as needed
    cross join matured
    where needed.core_values >= 1
    group by needed.core_values

),

-- A published number gives way only to one that is clearly better: a new user's goal should not move with the day.
ranked as (

    select
        splits.needed_core_values,
        splits.separation,
        splits.eligible_count,
        row_number() over (
            order by
                splits.separation + case when splits.needed_core_values = prior_thresholds.needed_core_values then 0.02 else 0 end
                desc nulls last,
                splits.needed_core_values asc nulls last
        ) as choice
    from splits
    cross join prior_thresholds

),

learned as (

    select
        max(ranked.needed_core_values) as needed_core_values,
        max({{ rounded('ranked.separation', 2) }}) as separation,
        coalesce(max(ranked.eligible_count), 0) as eligible_count
    from ranked
    where ranked.choice = 1

),

decided as (

    select
        user_features.user_id,
        user_features.core_value_first_7d,
        user_features.core_value_7d,
        user_features.days_since_start,
        learned.needed_core_values,
        learned.separation,
        learned.eligible_count,
        user_features.core_value_first_7d as score,
        case
            when
                learned.eligible_count < {{ var('minimum_population') }} or coalesce(learned.separation, 0) <= 0
                then 'not_enough_evidence'
            when user_features.core_value_first_7d >= learned.needed_core_values then 'reached_value'
            when user_features.core_value_7d >= learned.needed_core_values then 'reached_value_late'
            when coalesce(prior_state.value = 'true', false) then 'stays_activated'
            when user_features.days_since_start < 7 then 'still_time'
            else 'not_in_time'
        end as rule
    from user_features
    cross join learned
    left join prior_state on user_features.user_id = prior_state.entity_id

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(decided.rule in ('reached_value', 'reached_value_late', 'stays_activated') as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='true',
            features={
                'core_value_first_7d': 'decided.core_value_first_7d',
                'core_value_7d': 'decided.core_value_7d',
                'days_since_start': 'decided.days_since_start',
            },
            thresholds={
                'needed_core_values': 'decided.needed_core_values',
                'separation': 'cast(decided.separation as decimal(18, 2))',
                'eligible_count': 'decided.eligible_count',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
