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
