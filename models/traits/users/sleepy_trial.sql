with user_features as (

    select * from {{ ref('user_features') }}

),

trials as (

    select
        user_features.user_id,
        user_features.is_in_trial,
        user_features.trial_started_date is not null as has_started_trial,
        user_features.silent_days,
        user_features.trial_days_left,
        {{ dbt.datediff('user_features.trial_began_date', as_of_date(), 'day') }} as days_in_trial,
        {{ dbt.datediff('user_features.trial_began_date', reporting_date('user_features.trial_end_at'), 'day') }} as trial_days,
        coalesce(user_features.core_value_28d, 0) as core_value_28d,
        least(
            coalesce(user_features.days_since_core_value, user_features.days_since_start),
            user_features.days_since_start,
            {{ dbt.datediff('user_features.trial_began_date', as_of_date(), 'day') }}
        ) as days_without_value
    from user_features

),

-- Three days without value are a long weekend; in a longer trial a quarter of it is. Five days without a visit are a
-- weekend and most of a working week.
decided as (

    select
        trials.*,
        {{ rounded('greatest(3.0, trials.trial_days / 4.0)', 1) }} as days_allowed,
        trials.days_without_value as score,
        case
            when not trials.is_in_trial then 'no_open_trial'
            when not trials.has_started_trial then 'trial_of_another'
            when trials.days_without_value < greatest(3.0, trials.trial_days / 4.0) then 'awake'
            when trials.silent_days < 5 then 'still_looks_around'
            else 'asleep'
        end as rule
    from trials

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(decided.rule = 'asleep' as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_in_trial',
            features={
                'days_without_value': 'decided.days_without_value',
                'silent_days': 'decided.silent_days',
                'days_in_trial': 'decided.days_in_trial',
                'trial_days': 'decided.trial_days',
                'trial_days_left': 'decided.trial_days_left',
                'days_allowed': 'cast(decided.days_allowed as decimal(18, 1))',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
