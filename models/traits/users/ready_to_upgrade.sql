with user_features as (

    select * from {{ ref('user_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'ready_to_upgrade'

),

prior_thresholds as (

    select
        max(case when threshold = 'enter_score' then value end) as enter_score,
        max(case when threshold = 'exit_score' then value end) as exit_score
    from {{ source('state', 'trait_thresholds') }}
    where trait = 'ready_to_upgrade'

),

-- Intent fades: a look at pricing or checkout a week ago weighs half as much as one today. A purchase uses up the looks before it
-- and on its day.
scored as (

    select
        user_features.user_id,
        user_features.core_value_90d,
        user_features.active_days_28d,
        user_features.pricing_28d,
        user_features.pricing_since_purchase_28d,
        user_features.days_since_pricing,
        user_features.first_core_value_at is not null as has_value,
        user_features.has_higher_plan,
        user_features.is_cancelled,
        coalesce({{ reporting_date('user_features.subscribed_at') }} >= {{ reporting_date('user_features.last_pricing_at') }}, false)
            as has_bought_since,
        coalesce(prior_state.value = 'true', false) as was_member,
        case
            when user_features.pricing_since_purchase_28d > 0
                then {{ rounded('user_features.pricing_since_purchase_28d * power(0.5, user_features.days_since_pricing / 7)', 2) }}
            else 0
        end as score
    from user_features
    left join prior_state on user_features.user_id = prior_state.entity_id

),

interested as (

    select
        scored.*,
        scored.has_value
        and scored.has_higher_plan
        and not scored.is_cancelled
        and scored.active_days_28d > 0 as is_eligible
    from scored

),

todays_thresholds as (

    select
        count(*) as eligible_count,
        percentile_cont(0.90) within group (order by interested.score asc) as enter_score,
        percentile_cont(0.85) within group (order by interested.score asc) as exit_score
    from interested
    where interested.is_eligible

),

thresholds as (

    select
        todays_thresholds.eligible_count,
        {{ rounded('greatest(3.0, ' ~ smoothed('todays_thresholds.enter_score', 'prior_thresholds.enter_score') ~ ')', 2) }} as enter_score,
        {{ rounded('greatest(1.0, ' ~ smoothed('todays_thresholds.exit_score', 'prior_thresholds.exit_score') ~ ')', 2) }} as exit_score
    from todays_thresholds
    cross join prior_thresholds

),

-- A purchase ends the trait at once, whatever the prior state.
decided as (

    select
        interested.*,
        thresholds.*,
        case
            when thresholds.eligible_count < {{ var('minimum_population') }} then 'not_enough_evidence'
            when interested.is_cancelled then 'cancelled'
            when not interested.has_value then 'no_value_yet'
            when not interested.has_higher_plan then 'highest_plan'
            when interested.pricing_28d = 0 then 'no_intent'
            when interested.pricing_since_purchase_28d = 0 or interested.has_bought_since then 'bought_since'
            when interested.score > thresholds.enter_score then 'strong_intent'
            when interested.was_member and interested.score > thresholds.exit_score then 'intent_lasts'
            else 'weak_intent'
        end as rule
    from interested
    cross join thresholds

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(decided.rule in ('strong_intent', 'intent_lasts') as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'core_value_90d': 'decided.core_value_90d',
                'pricing_28d': 'decided.pricing_28d',
                'pricing_since_purchase_28d': 'decided.pricing_since_purchase_28d',
                'days_since_pricing': 'decided.days_since_pricing',
                'score': 'cast(decided.score as decimal(18, 2))',
            },
            thresholds={
                'enter_score': 'cast(decided.enter_score as decimal(18, 2))',
                'exit_score': 'cast(decided.exit_score as decimal(18, 2))',
                'eligible_count': 'decided.eligible_count',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
