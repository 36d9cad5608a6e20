{#-
    Rows of a stored table of which a column is among some keys, given as a query. Few rows of a long table: one engine looks
    at that column alone first.
-#}
{% macro filter_by_keys(relation, column, keys) -%}
    {{ adapter.dispatch('filter_by_keys')(relation, column, keys) }}
{%- endmacro %}

{% macro duckdb__filter_by_keys(relation, column, keys) -%}
    select * from {{ relation }}
    where rowid in (select rowid from {{ relation }} where {{ column }} in ({{ keys }}))
{%- endmacro %}

{% macro spark__filter_by_keys(relation, column, keys) -%}
    select * from {{ relation }} where {{ column }} in ({{ keys }})
{%- endmacro %}
