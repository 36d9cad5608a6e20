with account_features as (

    select * from {{ ref('account_features') }}

),

user_steps as (

    select * from {{ ref('user_steps') }}

),

-- One person's failures may be one person's mistake; what fails for several is broken.
failing_steps as (

    select
        user_steps.account_id,
        user_steps.step,
        count(*) as failing_members,
        sum(user_steps.failures_7d) as step_failures_7d,
        row_number() over (
            partition by user_steps.account_id
            order by count(*) desc nulls last, sum(user_steps.failures_7d) desc nulls last, user_steps.step asc nulls last
        ) as badness
    from user_steps
    where user_steps.is_setup and not user_steps.has_succeeded_since and user_steps.failures_7d >= 2
    group by user_steps.account_id, user_steps.step

),

decided as (

    select
        account_features.account_id,
        {{ quoted('failing_steps.step') }} as step,
        coalesce(failing_steps.failing_members, 0) as failing_members,
        coalesce(failing_steps.step_failures_7d, 0) as step_failures_7d,
        coalesce(failing_steps.failing_members, 0) as score,
        failing_steps.account_id is not null as is_eligible,
        case
            when account_features.is_cancelled then 'cancelled'
            when failing_steps.account_id is null then 'no_failure'
            when failing_steps.failing_members >= 2 then 'setup_fails'
            else 'one_member'
        end as rule
    from account_features
    left join failing_steps on account_features.account_id = failing_steps.account_id and failing_steps.badness = 1

),

final as (

    select
        cast(decided.account_id as string) as account_id,
        cast(decided.rule = 'setup_fails' as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'step': 'decided.step',
                'failing_members': 'decided.failing_members',
                'step_failures_7d': 'decided.step_failures_7d',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
