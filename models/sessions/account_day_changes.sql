{{ config(materialized='incremental', incremental_strategy='append') }}
{%- set fct_sessions = stored('sessions', 'fct_sessions') -%}
{%- set account_days = stored('activity', 'fct_user_account_activity_daily') -%}

with dirty_users as (

    select * from {{ ref('dirty_users') }}

),


-- Account days to which a dirty user contributed until now; the user's rows are about to be replaced.
contributed as (

    {%- if fct_sessions and account_days %}

    select
        known.account_id,
        known.session_date as activity_date
    from {{ fct_sessions }} as known
    inner join dirty_users
        on
            known.user_key = dirty_users.user_key
            and known.session_date >= dirty_users.rebuild_date
    where known.account_id is not null
    union all
    select
        known.account_id,
        known.activity_date
    from {{ account_days }} as known
    inner join dirty_users
        on
            known.user_key = dirty_users.user_key
            and known.activity_date >= dirty_users.rebuild_date
    where known.account_id != ''

    {%- else %}

    select
        '' as account_id,
        dirty_users.rebuild_date as activity_date
    from dirty_users
    where false

    {%- endif %}

),

final as (

    select distinct
        cast(contributed.account_id as string) as account_id,
        cast(contributed.activity_date as date) as activity_date,
        cast({{ since_watermark() }} as string) as since_watermark
    from contributed
    where {{ in_increment() }}

)

select * from final
