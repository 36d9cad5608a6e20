with account_members as (

    select * from {{ ref('account_members') }}

),

-- One or two visits make no champion, and a rhythm is known from five gaps on.
ranked as (

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
        ranked.account_id,
        count(case when account_members.silent_days < 7 then 1 end) as active_others
    from ranked
    inner join account_members
        on
            ranked.account_id = account_members.account_id
            and ranked.user_id != account_members.user_id
    where ranked.place = 1
    group by ranked.account_id

),

final as (

    select
        cast(ranked.account_id as string) as account_id,
        cast(floor(100 * ranked.activity_share_8w + 0.5) as bigint) as champion_percent,
        cast(ranked.silent_days as bigint) as champion_silent_days,
        cast(ranked.has_left as boolean) as champion_has_left,
        cast(ranked.longest_usual_gap_days as double) as champion_usual_gap_days,
        cast(coalesce(others.active_others, 0) as bigint) as active_others
    from ranked
    left join others on ranked.account_id = others.account_id
    where ranked.place = 1

)

select * from final
