{#-
    What a trait's model renders from its own YAML (config.meta.trait; docs/traits.md has the keys). The audit renders the
    same texts in orchestration/gates/recompute.py. While dbt parses, nothing of this is known, and nothing depends on it.
-#}

{#- The declaration of a trait: of the model itself, or of a named trait. -#}
{% macro declared_trait(name=none) -%}
    {%- if not execute -%}
        {{ return({'entity': 'user', 'type': 'boolean', 'rules': [{'rule': 'any'}], 'score': '0'}) }}
    {%- elif name is none -%}
        {{ return(model.config.meta.trait) }}
    {%- else -%}
        {{ return(model_named(name).config.meta.trait) }}
    {%- endif -%}
{%- endmacro %}

{% macro model_named(name) -%}
    {%- if not execute %}{{ return({'columns': {}}) }}{% endif -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.name == name -%}
        {{ return(node) }}
    {%- endfor -%}
    {{ return({'columns': {}}) }}
{%- endmacro %}

{#- SQL condition of those whom thresholds are taken from: the declared population; of users only identified ones. -#}
{% macro population(trait) -%}
    {%- set declared = declared_trait(trait) -%}
    {{ _counted(declared, declared.get('population', 'true')) }}
{%- endmacro %}

{% macro _counted(declared, condition) -%}
    ({{ condition }}){% if declared.entity == 'user' and not declared.get('everyone') %} and not is_anonymous{% endif %}
{%- endmacro %}

{#- SQL condition of the entities that the trait has a value for. -#}
{% macro applies_to() -%}
    {{- declared_trait().get('applies_to', 'true') -}}
{%- endmacro %}

{#- The value of an upstream trait; null where that trait was not judged. -#}
{% macro judged_value(trait) -%}
    case when {{ rule_of(trait ~ '.evidence') }} not in ('not_enough_evidence', 'not_observed') then {{ trait }}.value end
{%- endmacro %}

{#- The rule that an evidence names. -#}
{% macro rule_of(evidence) -%}
    {{ json_text(evidence, "'rule'") }}
{%- endmacro %}

{#- Which of the behaviours that a trait needs has never been observed; null when all have. One row. -#}
{% macro unobserved_needs(observed) -%}
    select min(needed.behaviour) as not_observed
    from (
        {%- for behaviour in declared_trait().get('needs', []) %}
        select cast('{{ behaviour }}' as string) as behaviour
        {{- '\n        union all' }}
        {%- endfor %}
        select cast(null as string) as behaviour
    ) as needed
    left join {{ observed }} as observed on needed.behaviour = observed.behaviour
    where observed.behaviour is null
{%- endmacro %}

{#- Expression of a declared value, rounded as declared. -#}
{% macro derived_value(trait, name) -%}
    {{- _derived_sql(declared_trait(trait).get('derived', {}).get(name, '0')) -}}
{%- endmacro %}

{% macro _derived_sql(entry) -%}
    {%- set entry = entry if entry is mapping else {'sql': entry} -%}
    {%- if entry.get('type', 'number') != 'number' -%}
        cast({{ entry.sql }} as {{ 'string' if entry.type == 'text' else entry.type }})
    {%- elif 'digits' not in entry -%}
        cast({{ entry.sql }} as bigint)
    {%- elif entry.digits == 0 -%}
        cast(floor(cast({{ entry.sql }} as double) + 0.5) as bigint)
    {%- else -%}
        {{ rounded(entry.sql, entry.digits) }}
    {%- endif -%}
{%- endmacro %}

{#-
    The declared values as columns, each free to name those before it. Those that read learned points come after them:
    `after_points` says which of the two are wanted. Rules may also name `minimum_population`, the var.
-#}
{% macro derived_values(after_points=false) -%}
    {%- set declared = declared_trait() -%}
    {%- set late = _late_values(declared) -%}
    {%- for name, entry in declared.get('derived', {}).items() if (name in late) == after_points -%}
        {{ _derived_sql(entry) }} as {{ name }},
        {% endfor -%}
    {% if after_points %}true as is_scored{% else %}cast({{ var('minimum_population') }} as bigint) as minimum_population{% endif %}
{%- endmacro %}

{#- Names of the derived values that read points or a probability, themselves or by way of another. -#}
{% macro _late_values(declared) -%}
    {%- set late = [] -%}
    {%- if declared.get('scorecard') -%}
        {%- set learned = ['points', 'probability'] -%}
        {%- for name in declared.scorecard %}{% do learned.append(name ~ '_points') %}{% endfor -%}
        {%- for name, entry in declared.get('derived', {}).items() -%}
            {%- set text = entry.sql if entry is mapping else entry | string -%}
            {%- if modules.re.findall('[a-z_][a-z0-9_]*', text) | select('in', learned + late) | list -%}
                {%- do late.append(name) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(late) }}
{%- endmacro %}

{#- Name of the first declared rule that holds. -#}
{% macro decided_rule() -%}
    case
        when not_observed is not null then 'not_observed'
        {%- for rule in declared_trait().rules %}
        {{ 'when ' ~ rule.when ~ ' then' if rule.get('when') else 'else' }} '{{ rule.rule }}'
        {%- endfor %}
    end
{%- endmacro %}

{#- Whether the entity could have the trait, and counts. -#}
{% macro decided_eligible() -%}
    {%- set declared = declared_trait() -%}
    coalesce({{ _counted(declared, declared.get('eligible') or declared.get('population', 'true')) }}, false)
{%- endmacro %}

{#- The value that the decided rule gives; a trait that was not judged says no, which no gate lets through. -#}
{% macro decided_value() -%}
    {%- set declared = declared_trait() -%}
    {%- if declared.type == 'boolean' -%}
        rule in (
        {%- for rule in declared.rules if rule.get('value') %}'{{ rule.rule }}', {% endfor -%}
        '')
    {%- else -%}
        case rule
            {%- for rule in declared.rules %}
            when '{{ rule.rule }}' then {{ rule.value if declared.type == 'number' else "'" ~ rule.get('value', rule.rule) ~ "'" }}
            {%- endfor %}
            else {{ '0' if declared.type == 'number' else "'unknown'" }}
        end
    {%- endif -%}
{%- endmacro %}

{#- The score, as declared. -#}
{% macro decided_score() -%}
    {{ declared_trait().score }}
{%- endmacro %}

{#-
    JSON text that says why an entity has its value: the rule that decided, whether the entity counts, the features that
    the declaration names, derived values, and thresholds. Doubles are written with their declared digits.
-#}
{% macro evidence() -%}
    {%- set declared = declared_trait() -%}
    '{"rule": "' || rule || '", "eligible": ' || cast(is_eligible as string)
    || ', "features": {' || {{ _json_members(_named_features(declared)) }}
    || '}, "derived": {' || {{ _json_members(_derived_members(declared)) }}
    || '}, "thresholds": {' || {{ _json_members(_thresholds_members()) }} || '}}'
{%- endmacro %}

{#- Feature -> type and digits, for the features that the declaration names, in the order of the feature row. -#}
{% macro _named_features(declared) -%}
    {%- set texts = [declared.get('applies_to', ''), declared.get('population', ''), declared.get('eligible', ''), declared.score] + declared.get('scorecard', []) -%}
    {%- for entry in declared.get('derived', {}).values() %}{% do texts.append(entry.sql if entry is mapping else entry | string) %}{% endfor -%}
    {%- for rule in declared.rules -%}
        {%- do texts.append(rule.get('when', '')) -%}
        {%- do texts.append(rule.value if declared.type == 'number' else '') -%}
        {%- do texts.append(modules.re.findall('{(\w+)}', rule.get('text', '')) | join(' ')) -%}
    {%- endfor -%}
    {%- set words = modules.re.findall('[a-z_][a-z0-9_]*', modules.re.sub("'[^']*'", '', texts | join(' '))) -%}
    {%- set members = {} -%}
    {%- for column in model_named(declared.entity ~ '_features').columns.values() if column.name in words -%}
        {%- do members.update({column.name: _kind(column)}) -%}
    {%- endfor -%}
    {{ return(members) }}
{%- endmacro %}

{% macro _derived_members(declared) -%}
    {%- set members = {'not_observed': 'text'} -%}
    {%- for name in declared.get('scorecard', []) %}{% do members.update({name ~ '_points': 'bigint'}) %}{% endfor -%}
    {%- if declared.get('scorecard') %}{% do members.update({'points': 'bigint'}) %}{% endif -%}
    {%- for name, entry in declared.get('derived', {}).items() -%}
        {%- set entry = entry if entry is mapping else {} -%}
        {%- set kind = entry.get('type', 'number') -%}
        {%- do members.update({name: entry.get('digits', 0) if kind == 'number' and entry.get('digits') else kind}) -%}
    {%- endfor -%}
    {{ return(members) }}
{%- endmacro %}

{#- Numbers alone: they are published with their history. -#}
{% macro _thresholds_members() -%}
    {%- set members = {} -%}
    {%- for column in model_named(model.name ~ '__thresholds').columns.values() if column.data_type in ('bigint', 'double') -%}
        {%- do members.update({column.name: _kind(column)}) -%}
    {%- endfor -%}
    {{ return(members) }}
{%- endmacro %}

{#- How a column is written: 'text', a number of digits, or as it is. -#}
{% macro _kind(column) -%}
    {%- set meta = column.get('config', {}).get('meta') or column.get('meta') or {} -%}
    {{ return('text' if column.data_type == 'string' else meta.get('digits', 0) if column.data_type == 'double' else column.data_type) }}
{%- endmacro %}

{% macro _json_members(members) -%}
    {%- for name, kind in members.items() -%}
        '{{ ", " if not loop.first }}"{{ name }}": ' || coalesce(
        {%- if kind == 'text' -%}
            {{ quoted(name) }}
        {%- elif kind is number -%}
            cast(cast({{ name }} as decimal(18, {{ kind }})) as string)
        {%- else -%}
            cast({{ name }} as string)
        {%- endif -%}
        , 'null')
        {{- ' || ' if not loop.last }}
    {%- else -%}
        ''
    {%- endfor -%}
{%- endmacro %}

{#-
    Text as a JSON string. Engines write escapes differently, so a sign that needs one, and what a page would take for
    markup, becomes another sign.
-#}
{% macro quoted(text) -%}
    '"' || translate({{ text }}, chr(92) || '"<>' || chr(9) || chr(10) || chr(13), '/`()   ') || '"'
{%- endmacro %}
