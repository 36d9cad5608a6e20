{#-
    The closed vocabulary of behaviours, which seeds/_seeds.yml accepts in the event catalogue. Days, windows and features have
    columns for each, in this order.
-#}
{% macro behaviours() -%}
    {{ return([
        'activation', 'core_value', 'collaboration', 'invite', 'pricing', 'error', 'setup', 'signed_up', 'trial_started',
        'subscribed', 'upgraded', 'downgraded', 'cancelled', 'support', 'navigation',
    ]) }}
{%- endmacro %}

{#- Lengths in days of the windows of features, counted back from as_of; rising. -#}
{% macro window_days() -%}
    {{ return([1, 7, 28, 90]) }}
{%- endmacro %}

{#- Ages in days at which a day leaves one of the windows; 56 ends the 28 days before the last 28. -#}
{% macro window_edges(windows) -%}
    {{ return((windows + [56]) | sort) }}
{%- endmacro %}

{#- What is added up of the days of a user or an account. -#}
{% macro day_measures(behaviours) -%}
    {%- set measures = ['event_count', 'session_count', 'active_seconds', 'failure_count', 'repeated_failure_count'] -%}
    {%- for behaviour in behaviours %}{% do measures.append(behaviour ~ '_count') %}{% endfor -%}
    {{ return(measures) }}
{%- endmacro %}

{#- The least edge that a day lies within. Every window is a sum of such periods, which are far fewer than days. -#}
{% macro period_of(day, edges) -%}
    case
        {%- for days in edges[:-1] %}
            when {{ day }} > {{ days_ago(days) }} then {{ days }}
        {%- endfor %}
            else {{ edges | last }}
        end
{%- endmacro %}

{#- A bigint column for each measure: its sum, under its own name. -#}
{% macro sums(relation, measures) -%}
    {%- for measure in measures -%}
        cast(sum({{ relation }}.{{ measure }}) as bigint) as {{ measure }}
        {%- if not loop.last %},
        {% endif -%}
    {%- endfor -%}
{%- endmacro %}

{#- A bigint column for each window: the sum of a measure over the periods within it, as <name>_<days>d. -#}
{% macro window_sums(measure, name, windows) -%}
    {%- for days in windows -%}
        cast(sum(case when periods.period_days <= {{ days }} then periods.{{ measure }} else 0 end) as bigint) as {{ name }}_{{ days }}d
        {%- if not loop.last %},
        {% endif -%}
    {%- endfor -%}
{%- endmacro %}

{#- The same over the 28 days before the last 28, as previous_<name>_28d. -#}
{% macro previous_window_sum(measure, name) -%}
    cast(sum(case when periods.period_days = 56 then periods.{{ measure }} else 0 end) as bigint) as previous_{{ name }}_28d
{%- endmacro %}

{#- The columns of windows that users and accounts share, from a step `periods`: period_days, active_days and day_measures. -#}
{% macro shared_windows(behaviours, windows) -%}
    {{ window_sums('active_days', 'active_days', windows[1:]) }},
        {{ previous_window_sum('active_days', 'active_days') }},
        {{ window_sums('event_count', 'events', windows) }},
        {{ previous_window_sum('event_count', 'events') }},
        {{ window_sums('session_count', 'sessions', windows) }},
        {{ window_sums('active_seconds', 'active_seconds', windows) }},
        {{ window_sums('failure_count', 'failures', windows) }},
        {{ window_sums('repeated_failure_count', 'repeated_failures', windows[1:]) }}
        {%- for behaviour in behaviours %},
        {{ window_sums(behaviour ~ '_count', behaviour, windows) }}
        {%- endfor %}
{%- endmacro %}
