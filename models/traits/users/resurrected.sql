with user_features as (

    select * from {{ ref('user_features') }}

),

-- One visit may be a mail client or a mistake; the second active day makes a return, unless weeks lie between.
decided as (

    select
        user_features.user_id,
        user_features.silent_days_before_return,
        user_features.active_days_since_return,
        user_features.days_since_return,
        user_features.silent_days_before_return as score,
        user_features.returned_date is not null as is_eligible,
        case
            when user_features.returned_date is null or user_features.is_anonymous then 'never_away'
            when user_features.is_cancelled then 'cancelled'
            when user_features.days_since_return >= 28 then 'long_back'
            when user_features.active_days_since_return < 2 then 'one_visit'
            when
                user_features.days_since_return - user_features.silent_days
                > 7 * (user_features.active_days_since_return - 1)
                then 'stray_visits'
            else 'came_back'
        end as rule
    from user_features

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(decided.rule = 'came_back' as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'silent_days_before_return': 'decided.silent_days_before_return',
                'active_days_since_return': 'decided.active_days_since_return',
                'days_since_return': 'decided.days_since_return',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
