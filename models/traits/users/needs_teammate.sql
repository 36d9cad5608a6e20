with user_features as (

    select * from {{ ref('user_features') }}

),

account_members as (

    select * from {{ ref('account_members') }}

),

account_standing as (

    select * from {{ ref('account_standing') }}

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
        {{ dbt.datediff(as_of_date(), reporting_date('account_standing.trial_end_at'), 'day') }} as trial_days_left,
        {{ floor_divide(
            whole_seconds('account_members.first_activation_at', as_of()), 3600
        ) }} as hours_since_project,
        case
            when not account_standing.is_in_trial then 'no_open_trial'
            when account_members.has_left then 'no_open_trial'
            when not (lower(coalesce(user_features.role, '')) in ('admin', 'owner') or account_members.has_started_trial)
                then 'not_admin'
            when account_members.first_activation_at is null then 'no_project'
            when teams.invite_count > 0 then 'has_invited'
            when teams.member_count > 1 then 'has_teammates'
            when {{ whole_seconds('account_members.first_activation_at', as_of()) }} < 48 * 3600 then 'too_early'
            else 'alone'
        end as rule
    from account_members
    inner join account_standing on account_members.account_id = account_standing.account_id
    inner join teams on account_members.account_id = teams.account_id
    inner join user_features on account_members.user_id = user_features.user_id

),

-- Of several memberships the one that needs a teammate most decides for the user.
most_alone as (

    select
        memberships.*,
        row_number() over (
            partition by memberships.user_id
            order by
                case memberships.rule
                    when 'alone' then 1
                    when 'too_early' then 2
                    when 'has_teammates' then 3
                    when 'has_invited' then 4
                    when 'no_project' then 5
                    when 'not_admin' then 6
                    else 7
                end asc nulls last,
                memberships.hours_since_project desc nulls last,
                memberships.account_id asc nulls last
        ) as place
    from memberships

),

decided as (

    select
        user_features.user_id,
        most_alone.member_count,
        most_alone.invite_count,
        most_alone.hours_since_project,
        most_alone.trial_days_left,
        most_alone.hours_since_project as score,
        coalesce(most_alone.rule, 'no_open_trial') as rule,
        coalesce(most_alone.rule, 'no_open_trial') not in ('no_open_trial', 'not_admin') as is_eligible
    from user_features
    left join most_alone on user_features.user_id = most_alone.user_id and most_alone.place = 1

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast(decided.rule = 'alone' as boolean) as value,
        cast(decided.score as double) as score,
        cast({{ evidence(
            rule='decided.rule',
            eligible='decided.is_eligible',
            features={
                'hours_since_project': 'decided.hours_since_project',
                'member_count': 'decided.member_count',
                'invite_count': 'decided.invite_count',
                'trial_days_left': 'decided.trial_days_left',
            },
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
