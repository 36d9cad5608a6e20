with user_features as (

    select * from {{ ref('user_features') }}

),

decided as (

    select
        user_features.user_id,
        user_features.silent_days,
        user_features.active_days_before_silence,
        user_features.long_gap_days,
        user_features.silent_days as score,
        case
            when user_features.is_anonymous then 'stranger'
            when user_features.has_left then 'left_the_account'
            when user_features.is_cancelled then 'cancelled'
            when user_features.silent_days >= 90 then 'gone'
            when user_features.silent_days < 28 then 'awake'
            when user_features.silent_days <= 2 * coalesce(user_features.long_gap_days, 0) then 'comes_seldom'
            else 'silent'
        end as rule
    from user_features

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(decided.rule = 'silent' as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='true',
            features={
                'silent_days': 'decided.silent_days',
                'active_days_before_silence': 'decided.active_days_before_silence',
                'long_gap_days': 'cast(decided.long_gap_days as decimal(18, 1))',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
