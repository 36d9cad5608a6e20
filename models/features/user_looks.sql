with fct_pricing_looks as (

    select * from {{ ref('fct_pricing_looks') }}

),

user_standing as (

    select * from {{ ref('user_standing') }}

),

-- A purchase, also one by a colleague for the account, uses up the looks before it.
open_looks as (

    select
        fct_pricing_looks.user_id,
        sum(fct_pricing_looks.look_count) as look_count
    from fct_pricing_looks
    inner join user_standing on fct_pricing_looks.user_id = user_standing.user_id
    where
        fct_pricing_looks.activity_date > {{ days_ago(28) }}
        and fct_pricing_looks.activity_date <= {{ as_of_date() }}
        and (user_standing.subscribed_at is null or fct_pricing_looks.occurred_at > user_standing.subscribed_at)
    group by fct_pricing_looks.user_id

),

final as (

    select
        cast(open_looks.user_id as string) as user_id,
        cast(open_looks.look_count as bigint) as pricing_since_purchase_28d
    from open_looks

)

select * from final
