with account_members as (

    select * from {{ ref('account_members') }}

),

account_standing as (

    select * from {{ ref('account_standing') }}

),

user_standing as (

    select * from {{ ref('user_standing') }}

),

teams as (

    select
        account_members.account_id,
        count(case when not account_members.has_left then 1 end) as member_count,
        sum(account_members.invite_count) as invite_count
    from account_members
    group by account_members.account_id

),

-- One row a membership: who leads the trial of an account, and for how long the account has had something to share.
memberships as (

    select
        account_members.user_id,
        account_members.account_id,
        teams.member_count,
        teams.invite_count,
        account_standing.is_in_trial and not account_members.has_left as in_open_team_trial,
        lower(coalesce(user_standing.role, '')) in ('admin', 'owner') or account_members.has_started_trial as leads_open_trial,
        account_members.first_activation_at is not null as has_team_project,
        {{ dbt.datediff(as_of_date(), reporting_date('account_standing.trial_end_at'), 'day') }} as trial_days_left,
        {{ floor_divide(whole_seconds('account_members.first_activation_at', as_of()), 3600) }} as hours_since_project
    from account_members
    inner join account_standing on account_members.account_id = account_standing.account_id
    inner join teams on account_members.account_id = teams.account_id
    left join user_standing on account_members.user_id = user_standing.user_id

),

-- Of several memberships the one that is closest to being alone with a project speaks for the user.
ranked as (

    select
        memberships.*,
        row_number() over (
            partition by memberships.user_id
            order by
                memberships.in_open_team_trial desc nulls last,
                memberships.leads_open_trial desc nulls last,
                memberships.has_team_project desc nulls last,
                case
                    when memberships.invite_count = 0 and memberships.member_count <= 1 then 1
                    when memberships.invite_count = 0 then 2
                    else 3
                end asc nulls last,
                memberships.hours_since_project desc nulls last,
                memberships.account_id asc nulls last
        ) as place
    from memberships

),

final as (

    select
        cast(ranked.user_id as string) as user_id,
        cast(ranked.in_open_team_trial as boolean) as in_open_team_trial,
        cast(ranked.leads_open_trial as boolean) as leads_open_trial,
        cast(ranked.has_team_project as boolean) as has_team_project,
        cast(ranked.hours_since_project as bigint) as hours_since_project,
        cast(ranked.member_count as bigint) as team_member_count,
        cast(ranked.invite_count as bigint) as team_invite_count,
        cast(ranked.trial_days_left as bigint) as team_trial_days_left
    from ranked
    where ranked.place = 1

)

select * from final
