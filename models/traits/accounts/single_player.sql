with account_features as (

    select * from {{ ref('account_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'single_player'

),

scored as (

    select
        account_features.account_id,
        account_features.active_days_28d,
        account_features.member_count,
        account_features.active_users_28d,
        account_features.invite_90d,
        account_features.features_28d,
        coalesce(prior_state.value = 'true', false) as was_member,
        account_features.is_cancelled,
        account_features.days_since_first_active,
        {{ rounded('coalesce(100.0 * account_features.top_feature_events_28d / nullif(account_features.feature_events_28d, 0), 0)', 0) }}
            as top_feature_percent
    from account_features
    left join prior_state on account_features.account_id = prior_state.entity_id

),

-- An invite or a second person ends it at once; the share of the one feature has to fall clearly.
decided as (

    select
        scored.*,
        scored.top_feature_percent as score,
        not scored.is_cancelled and scored.days_since_first_active >= 21 and scored.active_days_28d > 0 as is_eligible,
        case
            when scored.is_cancelled then 'cancelled'
            when scored.invite_90d > 0 then 'has_invited'
            when scored.active_users_28d > 1 or scored.member_count > 1 then 'has_team'
            when scored.days_since_first_active < 21 then 'too_early'
            when scored.active_days_28d < case when scored.was_member then 3 else 5 end then 'light_use'
            when scored.top_feature_percent < case when scored.was_member then 30 else 40 end then 'broad_use'
            else 'plays_alone'
        end as rule
    from scored

),

final as (

    select
        cast(decided.account_id as string) as account_id,
        cast(decided.rule = 'plays_alone' as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'active_days_28d': 'decided.active_days_28d',
                'member_count': 'decided.member_count',
                'active_users_28d': 'decided.active_users_28d',
                'invite_90d': 'decided.invite_90d',
                'features_28d': 'decided.features_28d',
                'days_since_first_active': 'decided.days_since_first_active',
                'top_feature_percent': 'cast(decided.top_feature_percent as bigint)',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
