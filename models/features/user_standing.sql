with user_rhythm as (

    select * from {{ ref('user_rhythm') }}

),

account_standing as (

    select * from {{ ref('account_standing') }}

),

memberships as (

    select * from {{ ref('memberships') }}

),

attributes as (

    select * from {{ ref('attributes') }}

),

plan_catalog as (

    select * from {{ ref('plan_catalog') }}

),

-- Of accounts and of users; what an anonymous visitor says is nobody's plan.
highest_plan as (

    select max(plan_catalog.rank) as highest_rank
    from plan_catalog
    inner join attributes on plan_catalog.plan = lower(attributes.value)
    left join user_rhythm on attributes.entity_type = 'user' and attributes.entity_id = user_rhythm.user_id
    where
        attributes.attribute = 'plan'
        and attributes.valid_from < {{ as_of() }}
        and (attributes.entity_type != 'user' or not coalesce(user_rhythm.is_anonymous, true))

),

-- What was said of the user last, before as_of.
said as (

    select
        attributes.entity_id as user_id,
        max(case when attributes.attribute = 'role' then attributes.value end) as role,
        max(case when attributes.attribute = 'plan' then attributes.value end) as plan,
        max(case when attributes.attribute = 'trial_end' then {{ utc_timestamp('attributes.value') }} end) as trial_end_at
    from attributes
    where
        attributes.entity_type = 'user'
        and attributes.valid_from < {{ as_of() }}
        and (attributes.valid_to is null or attributes.valid_to >= {{ as_of() }})
    group by attributes.entity_id

),

-- A user of several accounts counts for the one that was joined last.
joined as (

    select
        memberships.user_id,
        memberships.account_id,
        row_number() over (
            partition by memberships.user_id
            order by memberships.valid_from desc nulls last, memberships.account_id asc nulls last
        ) as newness
    from memberships
    where
        memberships.valid_from < {{ as_of() }}
        and (memberships.valid_to is null or memberships.valid_to >= {{ as_of() }})

),

-- A user who belonged to accounts and has left them all belongs to none any more.
left_all as (

    select memberships.user_id
    from memberships
    where memberships.valid_from < {{ as_of() }}
    group by memberships.user_id
    having count(*) = count(case when memberships.valid_to < {{ as_of() }} then 1 end)

),

-- The account decides about plan, trial and purchase; a user without one decides alone.
known as (

    select
        user_rhythm.user_id,
        joined.account_id,
        said.role,
        coalesce(account_standing.plan, said.plan) as plan,
        coalesce(plan_catalog.rank < highest_plan.highest_rank, true) as has_higher_plan,
        greatest(
            coalesce(user_rhythm.last_purchase_at, account_standing.subscribed_at),
            coalesce(account_standing.subscribed_at, user_rhythm.last_purchase_at)
        ) as subscribed_at,
        greatest(
            coalesce(user_rhythm.last_cancelled_at, account_standing.cancelled_at),
            coalesce(account_standing.cancelled_at, user_rhythm.last_cancelled_at)
        ) as cancelled_at,
        coalesce(account_standing.trial_began_date, user_rhythm.trial_started_date) as trial_began_date,
        coalesce(account_standing.trial_began_at, user_rhythm.last_trial_started_at) as trial_began_at,
        coalesce(
            account_standing.trial_end_at,
            said.trial_end_at,
            user_rhythm.last_trial_started_at + interval '{{ var("trial_days") }} days'
        ) as trial_end_at,
        left_all.user_id is not null as has_left,
        user_rhythm.is_anonymous
    from user_rhythm
    cross join highest_plan
    left join left_all on user_rhythm.user_id = left_all.user_id
    left join joined on user_rhythm.user_id = joined.user_id and joined.newness = 1
    left join account_standing on joined.account_id = account_standing.account_id
    left join said on user_rhythm.user_id = said.user_id
    left join plan_catalog on lower(coalesce(account_standing.plan, said.plan)) = plan_catalog.plan

),

-- What was done last, holds, to the instant, whoever of the account did it.
judged as (

    select
        known.*,
        coalesce(known.cancelled_at >= coalesce(known.subscribed_at, known.cancelled_at), false) as is_cancelled
    from known

),

final as (

    select
        cast(judged.user_id as string) as user_id,
        cast(judged.account_id as string) as account_id,
        cast(judged.is_anonymous as boolean) as is_anonymous,
        cast(judged.has_left as boolean) as has_left,
        cast(judged.role as string) as role,
        cast(judged.plan as string) as plan,
        cast(judged.has_higher_plan as boolean) as has_higher_plan,
        cast(judged.subscribed_at as timestamp) as subscribed_at,
        cast(judged.cancelled_at as timestamp) as cancelled_at,
        cast(judged.is_cancelled as boolean) as is_cancelled,
        cast(judged.trial_began_at as timestamp) as trial_began_at,
        cast(judged.trial_began_date as date) as trial_began_date,
        cast(case when judged.trial_began_date is not null then judged.trial_end_at end as timestamp) as trial_end_at,
        cast(
            coalesce(
                judged.trial_end_at >= {{ as_of() }}
                and not judged.is_cancelled
                and (judged.subscribed_at is null or judged.subscribed_at < judged.trial_began_at)
                and judged.trial_began_at is not null, false
            ) as boolean
        ) as is_in_trial
    from judged

)

select * from final
