{#- JSON object text of the members (name to expression) that are not null; `{}` when there are none. -#}
{% macro row_as_json(members) -%}
    {%- if not members -%}
        '{}'
    {%- else -%}
        {{ adapter.dispatch('row_as_json')(members) }}
    {%- endif -%}
{%- endmacro %}

{#- A merge drops the members that are null: a wide table of a vendor is mostly nulls. -#}
{% macro duckdb__row_as_json(members) -%}
    cast(json_merge_patch('{}', json_object(
        {%- for name, expression in members.items() %}
        '{{ dbt.escape_single_quotes(name) }}', {{ expression }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    )) as string)
{%- endmacro %}

{% macro spark__row_as_json(members) -%}
    to_json(named_struct(
        {%- for name, expression in members.items() %}
        '{{ dbt.escape_single_quotes(name) }}', {{ expression }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    ), map('ignoreNullFields', 'true'))
{%- endmacro %}
