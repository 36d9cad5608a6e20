with dim_accounts as (

    select * from {{ ref('dim_accounts') }}

),

account_rhythm as (

    select * from {{ ref('account_rhythm') }}

),

attributes as (

    select * from {{ ref('attributes') }}

),

plan_catalog as (

    select * from {{ ref('plan_catalog') }}

),

-- What was said of the account last, before as_of.
said as (

    select
        attributes.entity_id as account_id,
        max(case when attributes.attribute = 'plan' then attributes.value end) as plan,
        max(case when attributes.attribute = 'seat_limit' then {{ dbt.safe_cast('attributes.value', 'bigint') }} end) as seat_limit,
        max(case when attributes.attribute = 'trial_end' then {{ utc_timestamp('attributes.value') }} end) as trial_end_at,
        max(case when attributes.attribute = 'created_at' then {{ reporting_date(utc_timestamp('attributes.value')) }} end)
            as created_date
    from attributes
    where
        attributes.entity_type = 'account'
        and attributes.valid_from < {{ as_of() }}
        and (attributes.valid_to is null or attributes.valid_to >= {{ as_of() }})
    group by attributes.entity_id

),

-- Plans are compared with those that accounts have here: a plan of the catalogue that nobody has may not be sold.
ranked_plans as (

    select
        said.account_id,
        plan_catalog.rank < max(plan_catalog.rank) over () as has_higher_plan
    from said
    inner join plan_catalog on lower(said.plan) = plan_catalog.plan

),

known as (

    select
        dim_accounts.account_id,
        said.plan,
        said.seat_limit,
        -- A date after the account's last day cannot be right.
        case
            when said.created_date <= account_rhythm.last_active_date
                then least(said.created_date, account_rhythm.first_active_date)
            else account_rhythm.first_active_date
        end as started_date,
        ranked_plans.has_higher_plan,
        account_rhythm.last_purchase_at as subscribed_at,
        account_rhythm.trial_started_date,
        account_rhythm.last_trial_started_at as trial_began_at,
        account_rhythm.last_cancelled_at as cancelled_at,
        -- What was done last, holds, to the instant.
        coalesce(
            account_rhythm.last_cancelled_at >= coalesce(account_rhythm.last_purchase_at, account_rhythm.last_cancelled_at), false
        ) as is_cancelled,
        coalesce(
            said.trial_end_at, account_rhythm.last_trial_started_at + interval '{{ var("trial_days") }} days'
        ) as trial_end_at
    from dim_accounts
    inner join account_rhythm on dim_accounts.account_id = account_rhythm.account_id
    left join said on dim_accounts.account_id = said.account_id
    left join ranked_plans on dim_accounts.account_id = ranked_plans.account_id

),

final as (

    select
        cast(known.account_id as string) as account_id,
        cast(known.plan as string) as plan,
        cast(known.seat_limit as bigint) as seat_limit,
        cast(known.started_date as date) as started_date,
        cast(coalesce(known.has_higher_plan, true) as boolean) as has_higher_plan,
        cast(known.subscribed_at as timestamp) as subscribed_at,
        cast(known.cancelled_at as timestamp) as cancelled_at,
        cast(known.is_cancelled as boolean) as is_cancelled,
        cast(known.trial_began_at as timestamp) as trial_began_at,
        cast(known.trial_started_date as date) as trial_began_date,
        cast(case when known.trial_started_date is not null then known.trial_end_at end as timestamp) as trial_end_at,
        cast(
            coalesce(
                known.trial_end_at >= {{ as_of() }}
                and not known.is_cancelled
                and (known.subscribed_at is null or known.subscribed_at < known.trial_began_at)
                and known.trial_began_at is not null, false
            ) as boolean
        ) as is_in_trial
    from known

)

select * from final
