with user_features as (

    select * from {{ ref('user_features') }}

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
    where {{ population('activated') }}
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

-- Less than 0.05 is chance. Where no number separates those who stay, one core value is what is asked for.
learned as (

    select
        coalesce(max(case when ranked.separation >= 0.05 then ranked.needed_core_values end), 1) as needed_core_values,
        coalesce(max(ranked.eligible_count), 0) as eligible_count
    from ranked
    where ranked.choice = 1

),

final as (

    select
        cast('activated' as string) as trait,
        cast(learned.eligible_count as bigint) as eligible_count,
        cast(learned.needed_core_values as bigint) as needed_core_values
    from learned

)

select * from final
