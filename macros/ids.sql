{#- An id, or null when it is one of the texts that trackers send instead of an id (var junk_ids). -#}
{% macro usable_id(id) -%}
    case
        when
            lower(trim({{ id }})) in (
                ''
                {%- for junk in var('junk_ids').split(',') -%}
                    , '{{ junk.strip() }}'
                {%- endfor -%}
            ) then null
        else {{ id }}
    end
{%- endmacro %}

{#-
    MD5 of what an event says. It breaks ties between versions that were received at one instant, so that load order never
    decides; it is dear, and computed only for versions that may tie.
-#}
{% macro content_hash(events) -%}
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
