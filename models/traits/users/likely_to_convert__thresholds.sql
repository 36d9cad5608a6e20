with {{ newest_score_model('likely_to_convert') }},

final as (

    select
        cast('likely_to_convert' as string) as trait,
        cast(score_model.model_version as bigint) as model_version,
        cast(score_model.is_usable as boolean) as is_usable,
        cast(score_model.why_not as string) as why_not_learned,
        cast(score_model.enter_percent as double) as enter_percent,
        cast(score_model.exit_percent as double) as exit_percent
    from score_model

)

select * from final
