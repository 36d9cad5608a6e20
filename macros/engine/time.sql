{#- Microseconds since 1970 of a UTC timestamp: text of a timestamp differs between engines, this does not. -#}
{% macro epoch_micros(instant) -%}
    {{ adapter.dispatch('epoch_micros')(instant) }}
{%- endmacro %}

{% macro duckdb__epoch_micros(instant) -%}
    epoch_us({{ instant }})
{%- endmacro %}

{% macro spark__epoch_micros(instant) -%}
    unix_micros({{ instant }})
{%- endmacro %}

{#- Calendar day of a UTC timestamp in the reporting time zone. -#}
{% macro reporting_date(instant) -%}
    {%- if var('reporting_time_zone') == 'UTC' -%}
        cast({{ instant }} as date)
    {%- else -%}
        {{ adapter.dispatch('reporting_date')(instant) }}
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__reporting_date(instant) -%}
    cast(timezone('{{ var("reporting_time_zone") }}', timezone('UTC', {{ instant }})) as date)
{%- endmacro %}

{% macro spark__reporting_date(instant) -%}
    cast(from_utc_timestamp({{ instant }}, '{{ var("reporting_time_zone") }}') as date)
{%- endmacro %}

{#- One row a calendar day, both ends included; the column is called `calendar_date`. -#}
{% macro calendar(first, last) -%}
    {{ adapter.dispatch('calendar')(first, last) }}
{%- endmacro %}

{% macro duckdb__calendar(first, last) -%}
    select cast(days.instant as date) as calendar_date
    from generate_series({{ first }}, {{ last }}, interval '1 day') as days (instant)
{%- endmacro %}

{#- A sequence that would run backwards is an error, so it gets one day, and the day is left out. -#}
{% macro spark__calendar(first, last) -%}
    select days.calendar_date
    from (
        select explode(sequence({{ first }}, greatest({{ first }}, {{ last }}), interval '1' day)) as calendar_date
    ) as days
    where days.calendar_date <= {{ last }}
{%- endmacro %}
