with account_features as (

    select * from {{ ref('account_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'expansion_ready'

),

scored as (

    select
        account_features.account_id,
        account_features.member_count,
        account_features.seat_limit,
        account_features.active_users_28d,
        account_features.previous_active_users_28d,
        account_features.has_higher_plan,
        account_features.is_cancelled,
        account_features.is_in_trial,
        account_features.days_since_first_active,
        coalesce(prior_state.value = 'true', false) as was_member,
        {{ rounded('100.0 * account_features.seat_share', 0) }} as seat_percent,
        {{ rounded(
            'coalesce(100.0 * (account_features.events_28d - account_features.previous_events_28d)'
            ~ ' / nullif(account_features.previous_events_28d, 0), 0)', 0
        ) }} as growth_percent
    from account_features
    left join prior_state on account_features.account_id = prior_state.entity_id

),

-- To enter, people and use have grown and the seats are nearly taken; to stay, they must not shrink.
decided as (

    select
        scored.*,
        scored.seat_percent as score,
        not scored.is_cancelled and scored.seat_limit is not null as is_eligible,
        case
            when scored.is_cancelled then 'cancelled'
            when scored.seat_limit is null then 'no_limit_known'
            when not scored.has_higher_plan then 'highest_plan'
            when scored.is_in_trial or scored.days_since_first_active < 42 then 'too_early'
            when scored.seat_percent < case when scored.was_member then 60 else 70 end then 'seats_left'
            when
                scored.active_users_28d < scored.previous_active_users_28d + case when scored.was_member then 0 else 1 end
                or scored.growth_percent < case when scored.was_member then -10 else 10 end
                then 'not_growing'
            else 'growing_to_the_limit'
        end as rule
    from scored

),

final as (

    select
        cast(decided.account_id as string) as account_id,
        cast(decided.rule = 'growing_to_the_limit' as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'member_count': 'decided.member_count',
                'days_since_first_active': 'decided.days_since_first_active',
                'seat_limit': 'decided.seat_limit',
                'active_users_28d': 'decided.active_users_28d',
                'previous_active_users_28d': 'decided.previous_active_users_28d',
                'seat_percent': 'cast(decided.seat_percent as bigint)',
                'growth_percent': 'cast(decided.growth_percent as bigint)',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
