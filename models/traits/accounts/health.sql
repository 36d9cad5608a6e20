with account_features as (

    select * from {{ ref('account_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'health'

),

{{ score_steps('health') }},

-- The last four weeks in percent of the four before them; unknown for an account that was not there then.
inputs as (

    select
        account_features.account_id,
        account_features.silent_days,
        account_features.active_days_28d,
        account_features.active_users_28d,
        account_features.active_users_28d - account_features.previous_active_users_28d as users_trend_28d,
        account_features.features_28d,
        account_features.failures_28d,
        account_features.days_since_first_active,
        account_features.is_cancelled,
        {{ rounded('100.0 * account_features.events_28d / nullif(account_features.previous_events_28d, 0)', 0) }}
            as events_percent,
        not account_features.is_cancelled as is_eligible
    from account_features
    where account_features.last_purchase_at is not null

),

-- Every feature that the score may use is named here and in the evidence; learning reads the list from the evidence.
pointed as (

    select
        inputs.*,
        silent_days_bin.points as silent_days_points,
        active_days_28d_bin.points as active_days_28d_points,
        events_percent_bin.points as events_percent_points,
        active_users_28d_bin.points as active_users_28d_points,
        users_trend_28d_bin.points as users_trend_28d_points,
        features_28d_bin.points as features_28d_points,
        failures_28d_bin.points as failures_28d_points,
        days_since_first_active_bin.points as days_since_first_active_points,
        silent_days_bin.points
        + active_days_28d_bin.points
        + events_percent_bin.points
        + active_users_28d_bin.points
        + users_trend_28d_bin.points
        + features_28d_bin.points
        + failures_28d_bin.points
        + days_since_first_active_bin.points as points
    from inputs
    {{ join_points('silent_days', 'inputs') }}
    {{ join_points('active_days_28d', 'inputs') }}
    {{ join_points('events_percent', 'inputs') }}
    {{ join_points('active_users_28d', 'inputs') }}
    {{ join_points('users_trend_28d', 'inputs') }}
    {{ join_points('features_28d', 'inputs') }}
    {{ join_points('failures_28d', 'inputs') }}
    {{ join_points('days_since_first_active', 'inputs') }}

),

scored as (

    select
        pointed.*,
        score_model.is_usable,
        score_model.why_not,
        score_probabilities.probability,
        cast(floor(100 * (1 - score_probabilities.probability) + 0.5) as bigint) as stay_percent,
        cast(cast(prior_state.value as double) as bigint) as prior_health
    from pointed
    cross join score_model
    left join score_probabilities on pointed.points = score_probabilities.points
    left join prior_state on pointed.account_id = prior_state.entity_id

),

-- Three in a hundred are less than anybody would act on: the published number stays until it is off by as much.
decided as (

    select
        scored.*,
        case
            when not scored.is_usable then 'not_enough_evidence'
            when scored.is_cancelled then 'cancelled'
            when abs(scored.prior_health - scored.stay_percent) between 1 and 2 then 'kept'
            else 'told_anew'
        end as rule
    from scored

),

valued as (

    select
        decided.*,
        case
            when decided.rule in ('not_enough_evidence', 'cancelled') then 0
            when decided.rule = 'kept' then decided.prior_health
            else decided.stay_percent
        end as health
    from decided

),

final as (

    select
        cast(valued.account_id as string) as account_id,
        cast(valued.health as bigint) as value,
        cast(case when valued.is_eligible then {{ rounded('1 - valued.probability', 3) }} end as double) as score,
        cast({{ evidence(
            rule='valued.rule',
            eligible='valued.is_eligible',
            features={
                'silent_days': 'valued.silent_days',
                'silent_days_points': 'valued.silent_days_points',
                'active_days_28d': 'valued.active_days_28d',
                'active_days_28d_points': 'valued.active_days_28d_points',
                'events_percent': 'cast(valued.events_percent as bigint)',
                'events_percent_points': 'valued.events_percent_points',
                'active_users_28d': 'valued.active_users_28d',
                'active_users_28d_points': 'valued.active_users_28d_points',
                'users_trend_28d': 'valued.users_trend_28d',
                'users_trend_28d_points': 'valued.users_trend_28d_points',
                'features_28d': 'valued.features_28d',
                'features_28d_points': 'valued.features_28d_points',
                'failures_28d': 'valued.failures_28d',
                'failures_28d_points': 'valued.failures_28d_points',
                'days_since_first_active': 'valued.days_since_first_active',
                'days_since_first_active_points': 'valued.days_since_first_active_points',
                'points': 'valued.points',
                'stay_percent': 'valued.stay_percent',
                'health': 'valued.health',
                'why_not': 'case when not valued.is_usable then ' ~ quoted('valued.why_not') ~ ' end',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from valued

)

select * from final
