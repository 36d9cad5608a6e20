{#-
    The learned score of a trait as the steps `score_model` (one row), `score_points` and `score_probabilities`, to stand
    between the other steps of a model. It is the newest model of the declared definition that was fitted to nothing later
    than as_of; one that did not hold out of time gives no points. Who is `likely` is more likely than not or twice as
    likely as usual, whichever is less, and stays so down to four fifths of that: all of it fixed until the next model.
-#}
{% macro score_steps(trait) -%}
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

    ),

    score_points as (

        select
            points_of_models.feature,
            points_of_models.low,
            points_of_models.high,
            points_of_models.is_missing,
            points_of_models.points
        from {{ source('learning', 'score_points') }} as points_of_models
        inner join score_model on points_of_models.model_version = score_model.model_version
        where points_of_models.trait = '{{ trait }}' and score_model.is_usable

    ),

    score_probabilities as (

        select
            probabilities_of_models.points,
            probabilities_of_models.probability
        from {{ source('learning', 'score_probabilities') }} as probabilities_of_models
        inner join score_model on probabilities_of_models.model_version = score_model.model_version
        where probabilities_of_models.trait = '{{ trait }}' and score_model.is_usable

    )
{%- endmacro %}

{#- Join of the bin that a feature of `relation` falls into; `<feature>_bin.points` are its points. -#}
{% macro join_points(feature, relation) -%}
    left join score_points as {{ feature }}_bin
        on {{ feature }}_bin.feature = '{{ feature }}'
        and case
            when {{ relation }}.{{ feature }} is null then {{ feature }}_bin.is_missing
            else
                not {{ feature }}_bin.is_missing
                and ({{ feature }}_bin.low is null or {{ relation }}.{{ feature }} >= {{ feature }}_bin.low)
                and ({{ feature }}_bin.high is null or {{ relation }}.{{ feature }} < {{ feature }}_bin.high)
        end
{%- endmacro %}
