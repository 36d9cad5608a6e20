{#- Highest load_id that an earlier refresh has finished with; rows above it are new. -1: everything is new. -#}
{% macro loaded_after() -%}
    {{ var('loaded_after', -1) }}
{%- endmacro %}

{#- Restricts an incremental run to the users that new events touch; a full refresh takes everybody. -#}
{% macro only_touched(user_id) -%}
    {%- set touched_users = ref('touched_users') -%}
    {%- if is_incremental() -%}
        {{ user_id }} in (select touched_users.user_id from {{ touched_users }} as touched_users)
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}

{#-
    Pre-hook of a model that rebuilds touched users: their old rows go first, also those of a user who has none left
    (a delete+insert by unique key would keep them).
-#}
{% macro delete_touched() -%}
    {%- set touched_users = ref('touched_users') -%}
    {%- if is_incremental() -%}
        delete from {{ this }}
        where user_id in (select touched_users.user_id from {{ touched_users }} as touched_users)
    {%- endif -%}
{%- endmacro %}
