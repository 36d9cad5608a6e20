with account_features as (

    select * from {{ ref('account_features') }}

),

account_members as (

    select * from {{ ref('account_members') }}

),

-- One or two visits make no champion, and a rhythm is known from five gaps on.
champions as (

    select
        account_members.account_id,
        account_members.user_id,
        account_members.activity_share_8w,
        account_members.silent_days,
        account_members.has_left,
        account_members.longest_usual_gap_days,
        row_number() over (
            partition by account_members.account_id
            order by
                account_members.activity_share_8w desc nulls last,
                account_members.silent_days desc nulls last,
                account_members.user_id asc nulls last
        ) as place
    from account_members
    where
        account_members.activity_share_8w >= 0.4
        and account_members.active_days_8w >= 6
        and account_members.gap_count >= 5
        and account_members.silent_days < 56

),

others as (

    select
        champions.account_id,
        count(case when account_members.silent_days < 7 then 1 end) as active_others
    from champions
    inner join account_members
        on
            champions.account_id = account_members.account_id
            and champions.user_id != account_members.user_id
    where champions.place = 1
    group by champions.account_id

),

decided as (

    select
        account_features.account_id,
        {{ rounded('100 * champions.activity_share_8w', 0) }} as champion_percent,
        champions.silent_days as champion_silent_days,
        champions.longest_usual_gap_days,
        coalesce(others.active_others, 0) as active_others,
        champions.silent_days as score,
        champions.account_id is not null as is_eligible,
        case
            when account_features.is_cancelled then 'cancelled'
            when champions.account_id is null then 'no_champion'
            when coalesce(others.active_others, 0) = 0 then 'all_silent'
            when champions.has_left then 'has_left'
            when champions.silent_days > greatest(2 * champions.longest_usual_gap_days, 21) then 'is_silent'
            else 'is_here'
        end as rule
    from account_features
    left join champions on account_features.account_id = champions.account_id and champions.place = 1
    left join others on account_features.account_id = others.account_id

),

final as (

    select
        cast(decided.account_id as string) as account_id,
        cast(decided.rule in ('has_left', 'is_silent') as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'champion_percent': 'cast(decided.champion_percent as bigint)',
                'champion_silent_days': 'decided.champion_silent_days',
                'active_others': 'decided.active_others',
                'longest_usual_gap_days': 'cast(decided.longest_usual_gap_days as decimal(18, 2))',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
