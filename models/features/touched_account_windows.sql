with fct_account_activity_daily as (

    select * from {{ ref('fct_account_activity_daily') }}

),

touched_account_days as (

    select * from {{ ref('touched_account_days') }}

),

-- Rows with a day that crosses an edge of a window because the last day has moved.
crossing as (

    select fct_account_activity_daily.account_id
    from fct_account_activity_daily
    where
        {{ crosses_window_edge('fct_account_activity_daily.activity_date', window_edges(window_days())) }}

),

touched as (

    select touched_account_days.account_id
    from touched_account_days
    union all
    select crossing.account_id
    from crossing

),

final as (

    select distinct cast(touched.account_id as string) as account_id
    from touched
    where {{ in_increment() }}

)

select * from final
