{#-
    Naive UTC instant of a text in ISO 8601, with or without an offset (without: UTC); null when it cannot be read.
    A plain cast loses the offset on one engine, and each engine reads texts (such as `now`) that the other does not:
    so the form is checked first, the same on both.
-#}
{% macro utc_timestamp(expression) -%}
    {{ adapter.dispatch('utc_timestamp')(expression) }}
{%- endmacro %}

{% macro duckdb__utc_timestamp(expression) -%}
    timezone('UTC', try_cast(
        case when regexp_matches({{ expression }}, {{ iso_instant() }}) then {{ full_instant(expression, '\\') }} end
        as timestamptz
    ))
{%- endmacro %}

{#- The session's time zone is UTC. -#}
{% macro spark__utc_timestamp(expression) -%}
    try_cast(
        case when {{ expression }} rlike {{ iso_instant() }} then {{ full_instant(expression, '$') }} end
        as timestamp
    )
{%- endmacro %}

{#- Regular expression of the texts that utc_timestamp reads; no backslash, which engines escape differently. -#}
{% macro iso_instant() -%}
    '^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?( *(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?))?)?$'
{%- endmacro %}

{#- The same instant as both engines cast it: with seconds, and no blank before the offset. -#}
{% macro full_instant(expression, group_sign) -%}
    regexp_replace(
        regexp_replace(replace({{ expression }}, 'UTC', 'Z'), ' *(Z|[+-][0-9:]+)$', '{{ group_sign }}1'),
        '^([0-9-]{10}[T ][0-9]{2}:[0-9]{2})(Z|[+-][0-9:]+)?$',
        '{{ group_sign }}1:00{{ group_sign }}2'
    )
{%- endmacro %}
