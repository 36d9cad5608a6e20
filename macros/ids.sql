{#-
    An id, or null when it is one of the texts that trackers send instead of an id (var junk_ids). Written so that an id of
    usual length costs one look at its length and ends, and few comparisons: trimming it, or a plain `in` list, costs as
    much as a join.
-#}
{% macro usable_id(id) -%}
    {%- set short = 9 -%}
    {%- set junk = var('junk_ids').split(',') | map('trim') | list -%}
    case
        when length({{ id }}) > {{ short }} and {{ id }} not like ' %' and {{ id }} not like '% ' then
            case when
                {%- for text in junk if text | length > short %}
                {{ id ~ " = '" ~ text ~ "'" if text == text | upper
                    else "(length(" ~ id ~ ") = " ~ text | length ~ " and lower(" ~ id ~ ") = '" ~ text ~ "')" }} or
                {%- endfor %} false
                then null else {{ id }} end
        when position(',' || lower(trim({{ id }})) || ',' in ',,{{ junk | join(",") }},') = 0 then {{ id }}
    end
{%- endmacro %}

{#-
    MD5 of what an event says. It breaks ties between versions that were received at one instant, so that load order never
    decides; it is expensive, and computed only for versions that may tie.
-#}
{% macro event_hash(events) -%}
    {%- set texts = ['event_name', 'user_id', 'anonymous_id', 'account_id'] -%}
    {%- set more = ['properties', 'context', 'native_session_id', 'event_type', 'previous_id', 'source'] -%}
    {%- set parts = [] -%}
    {%- for column in texts -%}
        {%- do parts.extend(["coalesce(" ~ events ~ "." ~ column ~ ", '')", "'|'"]) -%}
    {%- endfor -%}
    {%- do parts.extend(["coalesce(cast(" ~ epoch_micros(events ~ '.occurred_at') ~ " as string), '')"]) -%}
    {%- for column in more -%}
        {%- do parts.extend(["'|'", "coalesce(" ~ events ~ "." ~ column ~ ", '')"]) -%}
    {%- endfor -%}
    {{ dbt.hash(dbt.concat(parts)) }}
{%- endmacro %}

{#- What trackers and exports write for null, in lower case, as a list of SQL; blank is null too. -#}
{% macro null_markers() -%}
    '', 'null', 'none', 'nil', 'undefined', 'nan', 'nat', '(null)', '<null>', '<na>'
{%- endmacro %}

{#- A text that says something, or null. -#}
{% macro stated_value(text) -%}
    case when lower(trim({{ text }})) not in ({{ null_markers() }}) then {{ text }} end
{%- endmacro %}

{#- Whether an event may say something of its user or account; PostHog, Amplitude and Snowplow say it with any event. -#}
{% macro says_profile(events) -%}
    (
        {{ events }}.event_type in ('identify', 'group')
        or ({{ events }}.source in ('amplitude', 'posthog', 'snowplow') and {{ sets_person_properties(events ~ '.properties') }})
    )
{%- endmacro %}

{#- Whether properties may hold PostHog's $set, $set_once or $unset. -#}
{% macro sets_person_properties(properties) -%}
    ({{ properties }} like '%"$set"%' or {{ properties }} like '%"$set_once"%' or {{ properties }} like '%"$unset"%')
{%- endmacro %}

{#-
    An id of PostHog, or null for a text that PostHog itself takes for nobody and merges with nothing.
    Source: PostHog's documentation, "Identifying users", on illegal distinct ids.
-#}
{% macro posthog_id(id) -%}
    case
        when lower(trim({{ id }})) not in (
            '', 'anonymous', 'guest', 'distinctid', 'distinct_id', 'id', 'not_authenticated', 'email', 'undefined', 'true',
            'false', 'null', 'none', 'nan', '0', '[object object]'
        ) then {{ id }}
    end
{%- endmacro %}
