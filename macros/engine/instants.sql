{#- The naive UTC instant of microseconds since 1970. -#}
{% macro micros_instant(micros) -%}
    {{ adapter.dispatch('micros_instant')(micros) }}
{%- endmacro %}

{% macro duckdb__micros_instant(micros) -%}
    make_timestamp({{ micros }})
{%- endmacro %}

{% macro spark__micros_instant(micros) -%}
    timestamp_micros({{ micros }})
{%- endmacro %}

{#- The first instant of a bucket, as bucket_number counts them. -#}
{% macro bucket_start(bucket, minutes) -%}
    {{ adapter.dispatch('bucket_start')(bucket, minutes) }}
{%- endmacro %}

{% macro duckdb__bucket_start(bucket, minutes) -%}
    make_timestamp({{ bucket }} * {{ minutes * 60 * 1000000 }})
{%- endmacro %}

{% macro spark__bucket_start(bucket, minutes) -%}
    timestamp_micros({{ bucket }} * {{ minutes * 60 * 1000000 }})
{%- endmacro %}

{#- Naive UTC instant of the wall clock of a time zone. -#}
{% macro utc_of_local(instant, time_zone) -%}
    {%- if time_zone == 'UTC' -%}
        {{ instant }}
    {%- else -%}
        {{ adapter.dispatch('utc_of_local')(instant, time_zone) }}
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__utc_of_local(instant, time_zone) -%}
    timezone('UTC', timezone('{{ time_zone }}', {{ instant }}))
{%- endmacro %}

{% macro spark__utc_of_local(instant, time_zone) -%}
    to_utc_timestamp({{ instant }}, '{{ time_zone }}')
{%- endmacro %}
