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
