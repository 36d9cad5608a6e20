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
