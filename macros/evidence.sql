{#-
    JSON text that says why an entity has its value: the rule that decided, whether the entity belongs to the
    population that thresholds are taken from, its features and the thresholds. Values are SQL expressions that are
    numbers or booleans, or text in `quoted`; cast a double to decimal first, so that every engine prints the same
    digits.
-#}
{% macro evidence(rule, eligible, features, thresholds={}) -%}
    '{"rule": "' || {{ rule }} || '", "eligible": ' || cast({{ eligible }} as string)
    || ', "features": {' || {{ json_members(features) }}
    || '}, "thresholds": {' || {{ json_members(thresholds) if thresholds else "''" }} || '}}'
{%- endmacro %}

{% macro json_members(members) -%}
    {%- for name, expression in members.items() -%}
        '{{ ", " if not loop.first }}"{{ name }}": ' || coalesce(cast({{ expression }} as string), 'null')
        {{- ' || ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}

{#- Text as a JSON string. Engines write escapes differently, so a sign that needs one becomes another sign. -#}
{% macro quoted(text) -%}
    '"' || replace(replace({{ text }}, chr(92), '/'), '"', '`') || '"'
{%- endmacro %}
