{#-
    The step `score_model` (one row): the newest model of a trait's declared definition that was fitted to nothing later than
    as_of; one that did not hold out of time gives no points. Who is `likely` is more likely than not or twice as likely as
    usual, whichever is less, and stays so down to four fifths of that: all of it fixed until the next model.
-#}
{% macro newest_score_model(trait) -%}
    score_model as (

        select
            max(model_version) as model_version,
            coalesce(bool_or(usable), false) as is_usable,
            case
                when max(model_version) is null then 'none has been learned from this history yet'
                when bool_or(usable) then 'the definition has other features now than when it was learned'
                else max(reason)
            end as why_not,
            least(50, {{ rounded('200 * max(base_rate)', 1) }}) as enter_percent,
            {{ rounded('0.8 * least(50, 200 * max(base_rate))', 1) }} as exit_percent
        from {{ source('learning', 'score_models') }}
        where
            trait = '{{ trait }}'
            and model_version = (
                select max(newest.model_version)
                from {{ source('learning', 'score_models') }} as newest
                where
                    newest.trait = '{{ trait }}'
                    and newest.is_declared
                    and cast(newest.fitted_until as timestamp) <= {{ as_of() }}
            )

    )
{%- endmacro %}

{#- What a learned score is read from, as the steps `score_points` and `score_probabilities`, behind the step `thresholds`. -#}
{% macro learned_score(trait) -%}
    score_points as (

        select
            points_of_models.feature,
            points_of_models.low,
            points_of_models.high,
            points_of_models.is_missing,
            points_of_models.points
        from {{ source('learning', 'score_points') }} as points_of_models
        inner join thresholds on points_of_models.model_version = thresholds.model_version
        where points_of_models.trait = '{{ trait }}' and thresholds.is_usable

    ),

    score_probabilities as (

        select
            probabilities_of_models.points,
            probabilities_of_models.probability
        from {{ source('learning', 'score_probabilities') }} as probabilities_of_models
        inner join thresholds on probabilities_of_models.model_version = thresholds.model_version
        where probabilities_of_models.trait = '{{ trait }}' and thresholds.is_usable

    )
{%- endmacro %}

{#- The learned points of each value that the declaration names in `scorecard`, and their sum. -#}
{% macro points() -%}
    {%- set names = declared_trait().get('scorecard', []) -%}
    {%- for name in names -%}
        {{ name }}_bin.points as {{ name }}_points,
        {% endfor -%}
    {%- for name in names -%}
        {{ name }}_bin.points
        {%- if not loop.last %} + {% endif -%}
    {%- else -%}
        0
    {%- endfor %} as points
{%- endmacro %}

{#- Joins of the bins that the values of the scorecard fall into, behind the step `judged`. -#}
{% macro join_points() -%}
    {%- for name in declared_trait().get('scorecard', []) %}
    {{ join_bin(name, 'judged') }}
    {%- endfor %}
{%- endmacro %}

{#- Join of the bin that a value of `relation` falls into; `<name>_bin.points` are its points. -#}
{% macro join_bin(name, relation) -%}
    left join score_points as {{ name }}_bin
        on {{ name }}_bin.feature = '{{ name }}'
        and case
            when {{ relation }}.{{ name }} is null then {{ name }}_bin.is_missing
            else
                not {{ name }}_bin.is_missing
                and ({{ name }}_bin.low is null or {{ relation }}.{{ name }} >= {{ name }}_bin.low)
                and ({{ name }}_bin.high is null or {{ relation }}.{{ name }} < {{ name }}_bin.high)
        end
{%- endmacro %}
