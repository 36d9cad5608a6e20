{#-
    Whether a row of an adapter is what Traithouse itself delivered to a destination, and so came back; never null. Each
    mark is enough: warehouses keep the id and the library of a message, other tools only its name or its sender.
-#}
{% macro is_own_delivery(events) -%}
    coalesce(
        {{ events }}.message_id like 'traithouse-delivery-%'
        or {{ events }}.library = 'traithouse'
        or {{ events }}.anonymous_id = 'traithouse'
        or translate(lower({{ events }}.event_name), ' _-', '') in ('traitentered', 'traitleft')
        or {{ events }}.event_name = 'traits.changed'
        or {{ events }}.properties like '%"traithouse-delivery-%',
        false
    )
{%- endmacro %}

{#-
    The library that a JSON object text names, as the context of a message or as columns of a warehouse, or as PostHog
    does. Only a text that holds our own name is read, for nobody asks about another library.
-#}
{% macro named_library(object) -%}
    case
        when {{ object }} like '%"traithouse"%'
            then coalesce(
                {{ json_text(json_text(object, "'library'"), "'name'") }},
                {{ json_text(object, "'library'") }},
                {{ json_text(object, "'library_name'") }},
                {{ json_text(object, "'context_library_name'") }},
                {{ json_text(object, "'$lib'") }}
            )
    end
{%- endmacro %}
