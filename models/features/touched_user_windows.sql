with fct_user_activity_daily as (

    select * from {{ ref('fct_user_activity_daily') }}

),

dirty_users as (

    select * from {{ ref('dirty_users') }}

),

-- Rows with a day that crosses an edge of a window because the last day has moved.
crossing as (

    select fct_user_activity_daily.user_key
    from fct_user_activity_daily
    where
        {{ crosses_window_edge('fct_user_activity_daily.activity_date', window_edges(window_days())) }}

),

touched as (

    select dirty_users.user_key
    from dirty_users
    union all
    select crossing.user_key
    from crossing

),

final as (

    select distinct cast(touched.user_key as bigint) as user_key
    from touched
    where {{ in_increment() }}

)

select * from final
