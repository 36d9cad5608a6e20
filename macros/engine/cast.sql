{#-
    Naive UTC instant of a text: ISO 8601 (also with blanks, slashes, a decimal comma), with or without an offset or the
    name of a time zone (without: UTC); or an epoch in seconds, milliseconds, microseconds or nanoseconds, also with
    decimals, cut to microseconds. Null when it cannot be read. `traithouse load` reads times with the same macro.
    Each engine reads texts (such as `now`) that the other does not, so the form is checked first, the same on both.
-#}
{% macro utc_timestamp(expression) -%}
    {{ adapter.dispatch('utc_timestamp')(expression) }}
{%- endmacro %}

{#- Of several texts the first that is a time. -#}
{% macro first_utc_timestamp(expressions) -%}
    coalesce({% for expression in expressions %}{{ utc_timestamp(expression) }}{{ ', ' if not loop.last }}{% endfor %})
{%- endmacro %}

{#- A cast that has read the name of a zone reads later texts in it too: those with a name have a cast of their own. -#}
{% macro duckdb__utc_timestamp(expression) -%}
    case
        when regexp_matches({{ expression }}, {{ iso_instant() }})
            then timezone('UTC', try_cast({{ full_instant(expression, '\\') }} as timestamptz))
        when regexp_matches({{ expression }}, {{ epoch_instant() }})
            then make_timestamp({{ epoch_text_micros(expression) }})
        when regexp_matches({{ expression }}, {{ zoned_instant() }})
            then timezone('UTC', try_cast({{ expression }} as timestamptz))
    end
{%- endmacro %}

{#- The session's time zone is UTC. -#}
{% macro spark__utc_timestamp(expression) -%}
    case
        when {{ expression }} rlike {{ iso_instant() }}
            then try_cast({{ full_instant(expression, '$') }} as timestamp)
        when {{ expression }} rlike {{ epoch_instant() }}
            then timestamp_micros({{ epoch_text_micros(expression) }})
        when {{ expression }} rlike {{ zoned_instant() }}
            then try_cast({{ expression }} as timestamp)
    end
{%- endmacro %}

{#- Regular expressions of the texts that utc_timestamp reads; no backslash, which engines escape differently. -#}
{% macro iso_instant() -%}
    '^{{ iso_date() }}([Tt ]{{ time_of_day() }}( *([Zz]|UTC|GMT|[+-][01][0-9](:?[0-5][0-9])?))?)?$'
{%- endmacro %}

{% macro zoned_instant() -%}
    '^{{ iso_date() }}[T ]{{ time_of_day() }} [A-Z][A-Za-z_]*/[A-Za-z_/+-]+$'
{%- endmacro %}

{% macro epoch_instant() -%}
    '^([0-9]{10}|[0-9]{13}|[0-9]{16}|[0-9]{19})([.][0-9]+)?$'
{%- endmacro %}

{% macro iso_date() -%}
    [0-9]{4}[-/](0[1-9]|1[0-2])[-/](0[1-9]|[12][0-9]|3[01])
{%- endmacro %}

{% macro time_of_day() -%}
    ([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.,][0-9]+)?)?
{%- endmacro %}

{#- The same instant as both engines cast it: in capitals, with seconds, and no blank before the offset. -#}
{% macro full_instant(expression, group_sign) -%}
    regexp_replace(
        regexp_replace(
            replace(replace(translate(upper({{ expression }}), '/,', '-.'), 'UTC', 'Z'), 'GMT', 'Z'),
            ' *(Z|[+-][0-9:]+)$',
            '{{ group_sign }}1'
        ),
        '^([0-9-]{10}[T ][0-9]{2}:[0-9]{2})(Z|[+-][0-9:]+)?$',
        '{{ group_sign }}1:00{{ group_sign }}2'
    )
{%- endmacro %}

{#- Microseconds since 1970 of an epoch: whatever its unit, they are its first 16 digits. -#}
{% macro epoch_text_micros(expression) -%}
    cast(rpad(replace({{ expression }}, '.', ''), 16, '0') as bigint)
{%- endmacro %}
