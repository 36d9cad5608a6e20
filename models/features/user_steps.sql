with fct_step_activity_daily as (

    select * from {{ ref('fct_step_activity_daily') }}

),

event_catalog as (

    select * from {{ ref('event_catalog') }}

),

setup_steps as (

    select distinct event_catalog.step
    from event_catalog
    where event_catalog.behaviour = 'setup' and event_catalog.step != ''

),

recent as (

    select
        fct_step_activity_daily.user_id,
        fct_step_activity_daily.account_id,
        fct_step_activity_daily.step,
        sum(fct_step_activity_daily.failure_count) as failures_7d,
        max(fct_step_activity_daily.last_failure_at) as last_failure_at,
        max(fct_step_activity_daily.last_success_at) as last_success_at
    from fct_step_activity_daily
    where
        fct_step_activity_daily.activity_date > {{ days_ago(7) }}
        and fct_step_activity_daily.activity_date <= {{ as_of_date() }}
    group by fct_step_activity_daily.user_id, fct_step_activity_daily.account_id, fct_step_activity_daily.step

),

final as (

    select
        cast(recent.user_id as string) as user_id,
        cast(recent.account_id as string) as account_id,
        cast(recent.step as string) as step,
        cast(setup_steps.step is not null as boolean) as is_setup,
        cast(recent.failures_7d as bigint) as failures_7d,
        cast(recent.last_failure_at as timestamp) as last_failure_at,
        cast(coalesce(recent.last_success_at > recent.last_failure_at, false) as boolean) as has_succeeded_since
    from recent
    left join setup_steps on recent.step = setup_steps.step
    where recent.failures_7d > 0

)

select * from final
