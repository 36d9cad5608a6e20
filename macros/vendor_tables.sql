{#-
    All rows of a table that a vendor's loader made, whichever columns it has: a vendor makes a table and a column only
    when the first event needs it, so neither may be missed. A table that was never loaded has no rows. Gives

      - each of `columns` as text, null when the table lacks it; a $ in its name is left out;
      - each of `objects` (name -> prefixes): the columns that begin with a prefix, as one JSON object text; the empty
        prefix takes what neither `columns` and `firsts` name nor an earlier object took;
      - each of `firsts` (name -> prefix): the first column with the prefix that is not null, as text;
      - each of `members` (name -> prefix, and a prefix of columns to leave out): of columns that hold a list of one JSON
        object, the members of that object, as one JSON object text; of two of one name the first counts;
      - loaded_at and load_id.

    Values are text in an object too, so that a table of texts (what `traithouse load` makes) and a table of types give
    the same events; nested values stay nested.
-#}
{% macro vendor_rows(relation, columns, objects={}, firsts={}, members={}) -%}
    {%- set found = {} -%}
    {%- if execute and load_relation(relation) -%}
        {%- for column in adapter.get_columns_in_relation(relation) -%}
            {%- set type = column.dtype | lower -%}
            {%- set is_nested = type.endswith(']') or type.startswith(('struct', 'map', 'array', 'variant')) -%}
            {%- do found.update({column.name | lower: {'sql': adapter.quote(column.name), 'is_nested': is_nested}}) -%}
        {%- endfor -%}
        {%- if 'loaded_at' not in found or 'load_id' not in found -%}
            {{ exceptions.raise_compiler_error(
                relation ~ " lacks loaded_at or load_id: fill it with `traithouse load FILE --source SOURCE --table TABLE`"
            ) }}
        {%- endif -%}
    {%- endif -%}
    {%- set named = columns + ['loaded_at', 'load_id'] -%}
    {%- for prefix in firsts.values() -%}
        {%- for column in found if column.startswith(prefix) %}{% do named.append(column) %}{% endfor -%}
    {%- endfor -%}
    {%- set taken = [] -%}
    select
        {%- for name in columns %}
        {{ vendor_text(found.get(name)) }} as {{ name | replace('$', '') }},
        {%- endfor %}
        {%- for name, prefixes in objects.items() %}
        {%- set picked = {} %}
        {%- for column, value in found.items() %}
        {%- for prefix in prefixes if column not in taken and (column not in named if prefix == '' else column.startswith(prefix)) %}
        {%- do picked.update({column: value.sql if value.is_nested else vendor_text(value)}) %}
        {%- do taken.append(column) %}
        {%- endfor %}
        {%- endfor %}
        {{ row_as_json(picked) }} as {{ name }},
        {%- endfor %}
        {%- for name, prefix in firsts.items() %}
        coalesce(
            {%- for column, value in found.items() if column.startswith(prefix) %}
            {{ vendor_text(value) }},
            {%- endfor %}
            cast(null as string)
        ) as {{ name }},
        {%- endfor %}
        {%- for name, (prefix, except) in members.items() %}
        {%- set lists = [] %}
        {%- for column, value in found.items() if column.startswith(prefix) and not column.startswith(except) %}{% do lists.append(vendor_text(value)) %}{% endfor %}
        {{ members_of_lists(lists) }} as {{ name }},
        {%- endfor %}
        cast({{ 'loaded_at' if found else 'null' }} as timestamp) as loaded_at,
        cast({{ 'load_id' if found else 'null' }} as bigint) as load_id
    {%- if found %}
    from {{ relation }}
    {%- else %}
    where 1 = 0
    {%- endif %}
{%- endmacro %}

{#-
    The rows of vendor_rows and their `source`: of the table in its own schema (raw_segment: segment), and of the same table
    in each schema whose name goes on after it (raw_segment_ios: segment_ios).
-#}
{% macro rows_side_by_side(relation, columns, objects) -%}
    {%- set schemas = [relation.schema] -%}
    {%- if execute -%}
        {%- for name in list_schemas(relation.database).columns[0].values() | unique | sort if name.startswith(relation.schema ~ '_') -%}
            {%- do schemas.append(name) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- for name in schemas %}
    select
        vendor_rows.*,
        '{{ name.removeprefix('raw_') }}' as source
    from (
        {{ vendor_rows(relation.incorporate(path={'schema': name}), columns, objects) }}
    ) as vendor_rows
    {{- '\n    union all' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#- Text of a column that vendor_rows found; null for none. -#}
{% macro vendor_text(column) -%}
    {%- if not column -%}
        cast(null as string)
    {%- elif column.is_nested -%}
        cast(to_json({{ column.sql }}) as string)
    {%- else -%}
        cast({{ column.sql }} as string)
    {%- endif -%}
{%- endmacro %}

{#- One JSON object text of the members of objects that stand alone in a list each, given as JSON texts. -#}
{% macro members_of_lists(lists) -%}
    {%- if not lists -%}
        '{}'
    {%- else -%}
        concat('{', concat_ws(
            ','
            {%- for list in lists %},
            case
                when {{ is_json_object(only_object(list)) }} and {{ only_object(list) }} != '{}'
                    then substring({{ only_object(list) }}, 2, length({{ only_object(list) }}) - 2)
            end
            {%- endfor %}
        ), '}')
    {%- endif -%}
{%- endmacro %}

{#- What stands between the brackets of a list. -#}
{% macro only_object(list) -%}
    trim(substring(trim({{ list }}), 2, length(trim({{ list }})) - 2))
{%- endmacro %}

{#- One JSON object text of two; of members of one name the first object's counts. -#}
{% macro joined_objects(first, second) -%}
    case
        when {{ second }} = '{}' then {{ first }}
        when {{ first }} = '{}' then {{ second }}
        else concat(substring({{ first }}, 1, length({{ first }}) - 1), ',', substring({{ second }}, 2))
    end
{%- endmacro %}

{#- A text, or the only element of a list of texts; null of other lists. -#}
{% macro only_element(text) -%}
    case
        when {{ text }} like '["%"]' and {{ text }} not like '%","%' then substring({{ text }}, 3, length({{ text }}) - 4)
        when {{ text }} not like '[%' then {{ text }}
    end
{%- endmacro %}
