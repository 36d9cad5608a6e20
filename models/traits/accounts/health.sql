with account_features as (

    select * from {{ ref('account_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'health'

),

{{ score_steps('health') }},

weeks as (

    select
        account_features.*,
        (account_features.events_28d - account_features.events_7d + account_features.previous_events_28d) / 7.0 as usual_week
    from account_features
    where account_features.last_purchase_at is not null

),

-- An account is measured by itself: its silence by its usual gap, its last week by the seven before, its last four weeks by
-- the four before, its people by those who have come; each is unknown where there is nothing to measure by.
inputs as (

    select
        weeks.account_id,
        weeks.active_users_28d,
        weeks.is_cancelled,
        case
            when weeks.median_gap_days is not null
                then {{ rounded('weeks.silent_days / greatest(weeks.median_gap_days, 1)', 1) }}
        end as silence_in_gaps,
        {{ rounded('100.0 * weeks.events_7d / nullif(weeks.usual_week, 0)', 0) }} as week_percent,
        {{ rounded('100.0 * weeks.events_28d / nullif(weeks.previous_events_28d, 0)', 0) }} as month_percent,
        greatest(coalesce(weeks.member_count, 0) - weeks.active_users_28d, 0) as silent_members,
        not weeks.is_cancelled as is_eligible
    from weeks

),

-- Every feature that the score may use is named here and in the evidence; learning reads the list from the evidence.
pointed as (

    select
        inputs.*,
        silence_in_gaps_bin.points as silence_in_gaps_points,
        week_percent_bin.points as week_percent_points,
        month_percent_bin.points as month_percent_points,
        active_users_28d_bin.points as active_users_28d_points,
        silent_members_bin.points as silent_members_points,
        silence_in_gaps_bin.points
        + week_percent_bin.points
        + month_percent_bin.points
        + active_users_28d_bin.points
        + silent_members_bin.points as points
    from inputs
    {{ join_points('silence_in_gaps', 'inputs') }}
    {{ join_points('week_percent', 'inputs') }}
    {{ join_points('month_percent', 'inputs') }}
    {{ join_points('active_users_28d', 'inputs') }}
    {{ join_points('silent_members', 'inputs') }}

),

scored as (

    select
        pointed.*,
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
            when scored.probability is null then 'not_enough_evidence'
            when scored.is_cancelled then 'cancelled'
            when abs(scored.prior_health - scored.stay_percent) between 1 and 2 then 'kept'
            else 'updated'
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
                'silence_in_gaps': 'cast(valued.silence_in_gaps as decimal(18, 1))',
                'silence_in_gaps_points': 'valued.silence_in_gaps_points',
                'week_percent': 'cast(valued.week_percent as bigint)',
                'week_percent_points': 'valued.week_percent_points',
                'month_percent': 'cast(valued.month_percent as bigint)',
                'month_percent_points': 'valued.month_percent_points',
                'active_users_28d': 'valued.active_users_28d',
                'active_users_28d_points': 'valued.active_users_28d_points',
                'silent_members': 'valued.silent_members',
                'silent_members_points': 'valued.silent_members_points',
                'points': 'valued.points',
                'stay_percent': 'valued.stay_percent',
                'health': 'valued.health',
                'why_not': 'case when valued.probability is null then ' ~ quoted('valued.why_not') ~ ' end',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from valued

)

select * from final
