{#- A double rounded half up to so many digits; round() itself differs between engines. -#}
{% macro rounded(number, digits) -%}
    floor(cast({{ number }} as double) * {{ 10 ** digits }} + 0.5) / {{ 10 ** digits }}
{%- endmacro %}
