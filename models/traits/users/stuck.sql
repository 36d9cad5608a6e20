with user_features as (

    select * from {{ ref('user_features') }}

),

user_steps as (

    select * from {{ ref('user_steps') }}

),

-- The step that fails most: several may fail, and the sentence names one.
worst_steps as (

    select
        user_steps.user_id,
        user_steps.step,
        user_steps.failures_7d,
        user_steps.last_failure_at,
        row_number() over (
            partition by user_steps.user_id
            order by
                user_steps.has_succeeded_since asc nulls last,
                user_steps.failures_7d desc nulls last,
                user_steps.last_failure_at desc nulls last,
                user_steps.step asc nulls last,
                user_steps.account_id asc nulls last
        ) as badness,
        user_steps.has_succeeded_since
    from user_steps

),

decided as (

    select
        user_features.user_id,
        {{ quoted('worst_steps.step') }} as step,
        coalesce(worst_steps.failures_7d, 0) as step_failures_7d,
        {{ dbt.datediff(reporting_date('worst_steps.last_failure_at'), as_of_date(), 'day') }} as days_since_failure,
        coalesce(worst_steps.failures_7d, 0) as score,
        worst_steps.user_id is not null as is_eligible,
        case
            when user_features.is_cancelled then 'cancelled'
            when worst_steps.user_id is null then 'no_failure'
            when worst_steps.has_succeeded_since then 'got_through'
            when worst_steps.failures_7d >= 3 then 'keeps_failing'
            else 'few_failures'
        end as rule
    from user_features
    left join worst_steps on user_features.user_id = worst_steps.user_id and worst_steps.badness = 1

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(decided.rule = 'keeps_failing' as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'step': 'decided.step',
                'step_failures_7d': 'decided.step_failures_7d',
                'days_since_failure': 'decided.days_since_failure',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
