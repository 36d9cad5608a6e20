{#- A double rounded half up to so many digits; round() itself differs between engines. -#}
{% macro rounded(number, digits) -%}
    floor(cast({{ number }} as double) * {{ 10 ** digits }} + 0.5) / {{ 10 ** digits }}
{%- endmacro %}

{#-
    A population threshold that moves an eighth of the way from the published one to today's with every day that is
    published: an exponentially weighted reference in which the last five days weigh half (simple exponential
    smoothing; Brown, "Smoothing, Forecasting and Prediction of Discrete Time Series", 1963). One odd day moves nobody.
-#}
{% macro smoothed(fresh, prior) -%}
    coalesce({{ prior }} + ({{ fresh }} - {{ prior }}) / 8, {{ fresh }})
{%- endmacro %}
