with fct_user_activity_daily as (

    select * from {{ ref('fct_user_activity_daily') }}

),

fct_step_activity_daily as (

    select * from {{ ref('fct_step_activity_daily') }}

),

days as (

    select
        {%- for behaviour in behaviours() %}
        min(case when fct_user_activity_daily.{{ behaviour }}_count > 0 then fct_user_activity_daily.activity_date end) as {{ behaviour }},
        {%- endfor %}
        count(*) as day_count
    from fct_user_activity_daily
    where fct_user_activity_daily.activity_date <= {{ as_of_date() }}

),

steps as (

    select
        min(case when fct_step_activity_daily.failure_count > 0 then fct_step_activity_daily.activity_date end) as failure,
        min(
            case when fct_step_activity_daily.last_success_at is not null then fct_step_activity_daily.activity_date end
        ) as success
    from fct_step_activity_daily
    where fct_step_activity_daily.activity_date <= {{ as_of_date() }}

),

observed as (

    {%- for behaviour in behaviours() %}
    select
        '{{ behaviour }}' as behaviour,
        days.{{ behaviour }} as first_observed_date
    from days
    union all
    {%- endfor %}
    select
        'failure' as behaviour,
        steps.failure as first_observed_date
    from steps
    union all
    select
        'success' as behaviour,
        steps.success as first_observed_date
    from steps

),

final as (

    select
        cast(observed.behaviour as string) as behaviour,
        cast(observed.first_observed_date as date) as first_observed_date
    from observed
    where observed.first_observed_date is not null

)

select * from final
