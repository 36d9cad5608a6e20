with user_steps as (

    select * from {{ ref('user_steps') }}

),

-- Several steps may fail, and a sentence names one: the one that has not succeeded since and fails most.
ranked as (

    select
        user_steps.user_id,
        user_steps.step,
        user_steps.failures_7d,
        user_steps.last_failure_at,
        user_steps.has_succeeded_since,
        row_number() over (
            partition by user_steps.user_id
            order by
                user_steps.has_succeeded_since asc nulls last,
                user_steps.failures_7d desc nulls last,
                user_steps.last_failure_at desc nulls last,
                user_steps.step asc nulls last,
                user_steps.account_id asc nulls last
        ) as badness
    from user_steps

),

final as (

    select
        cast(ranked.user_id as string) as user_id,
        cast(ranked.step as string) as worst_step,
        cast(ranked.failures_7d as bigint) as worst_step_failures_7d,
        cast({{ dbt.datediff(reporting_date('ranked.last_failure_at'), as_of_date(), 'day') }} as bigint) as days_since_worst_failure,
        cast(ranked.has_succeeded_since as boolean) as has_succeeded_at_worst_step
    from ranked
    where ranked.badness = 1

)

select * from final
