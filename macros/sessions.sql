{#- How many days after its first one a session can reach. -#}
{% macro session_days() -%}
    {{ (var('session_max_minutes') / 1440) | round(0, 'ceil') | int }}
{%- endmacro %}

{#- Numbers of the days that a session can reach, as relation: `day_offset`, 0 for its first day. -#}
{% macro session_day_offsets() -%}
    (
        {%- for offset in range((session_days() | int) + 1) %}
        select {{ offset }} as day_offset{{ ' union all' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}

{#- The day so many days after the one on which a session began. -#}
{% macro session_day(sessions, offset) -%}
    cast({{ dbt.dateadd('day', offset, sessions ~ '.session_date') }} as date)
{%- endmacro %}

{#- The instant at which a day of the reporting time zone begins; naive UTC. -#}
{% macro day_start(day) -%}
    {{ utc_of_local('cast(' ~ day ~ ' as timestamp)', var('reporting_time_zone')) }}
{%- endmacro %}

{#-
    Sessions and seconds of each of `keys` and each day. Seconds count on the day on which they were spent, and once where
    sessions are parallel; a session that begins within another one is no session more.
-#}
{% macro active_time(sessions, keys) -%}
    {%- set partition = keys | join(', ') -%}
    select
        {{ partition }},
        pieces.activity_date,
        count(case when pieces.is_first_day and not pieces.is_parallel then 1 end) as session_count,
        {{ floor_divide(
            'sum(greatest(' ~ epoch_micros('pieces.ends_at') ~ ' - ' ~ epoch_micros('pieces.begins_at') ~ ', 0))', '1000000'
        ) }} as active_seconds
    from (
        select
            {{ partition }},
            {{ session_day('known', 'offsets.day_offset') }} as activity_date,
            offsets.day_offset = 0 as is_first_day,
            coalesce(known.started_at <= known.counted_until, false) as is_parallel,
            greatest(
                known.started_at,
                coalesce(known.counted_until, known.started_at),
                {{ day_start(session_day('known', 'offsets.day_offset')) }}
            ) as begins_at,
            least(known.ended_at, {{ day_start(session_day('known', 'offsets.day_offset + 1')) }}) as ends_at
        from (
            select
                {{ partition }},
                session_date,
                started_at,
                ended_at,
                max(ended_at) over (
                    partition by {{ partition }}
                    order by started_at asc nulls last, session_id asc nulls last
                    rows between unbounded preceding and 1 preceding
                ) as counted_until
            from {{ sessions }}
        ) as known
        cross join {{ session_day_offsets() }} as offsets
    ) as pieces
    where pieces.is_first_day or pieces.begins_at <= pieces.ends_at
    group by {{ partition }}, pieces.activity_date
{%- endmacro %}
