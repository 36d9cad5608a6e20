with user_steps as (

    select * from {{ ref('user_steps') }}

),

user_rhythm as (

    select * from {{ ref('user_rhythm') }}

),

-- One person's failures may be one person's mistake; what fails for several is broken.
ranked as (

    select
        user_steps.account_id,
        user_steps.step,
        count(*) as failing_members,
        sum(user_steps.failures_7d) as failures_7d,
        row_number() over (
            partition by user_steps.account_id
            order by count(*) desc nulls last, sum(user_steps.failures_7d) desc nulls last, user_steps.step asc nulls last
        ) as badness
    from user_steps
    inner join user_rhythm on user_steps.user_id = user_rhythm.user_id
    where not user_rhythm.is_anonymous and user_steps.is_setup and not user_steps.has_succeeded_since and user_steps.failures_7d >= 2
    group by user_steps.account_id, user_steps.step

),

final as (

    select
        cast(ranked.account_id as string) as account_id,
        cast(ranked.step as string) as failing_setup_step,
        cast(ranked.failing_members as bigint) as failing_setup_members,
        cast(ranked.failures_7d as bigint) as failing_setup_failures_7d
    from ranked
    where ranked.badness = 1

)

select * from final
