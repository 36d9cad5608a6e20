"""Scores are learned once a week; the refresh after it uses them."""

from collections.abc import Iterator

import dagster as dg

from orchestration.declarations.traits import Trait
from orchestration.defs.events import POOL, asset_key, materialized
from orchestration.learning.score_models import score_traits
from orchestration.pipeline.asset_events import score_key
from orchestration.pipeline.asset_reports import of_learned
from orchestration.transform.dbt import Project


def definitions(project: Project) -> dg.Definitions:
    """One step that learns all scores, a job for it, for no refresh should wait for it, and a schedule."""
    traits = score_traits(project)

    @dg.multi_asset(name="fit_scores", specs=[_spec(trait) for trait in traits], can_subset=True, pool=POOL)
    def fit_scores(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        from orchestration.learning.learn import learn  # brings scikit-learn, which nothing else here waits for

        names = [key.path[-1] for key in context.selected_asset_keys]
        for learned in learn(project, traits=sorted(names), notify=context.log.info):
            outcome = "in use" if learned.model.usable else f"not used: {learned.model.reason}"
            context.log.info(f"{learned.trait.name}, model {learned.version}: {outcome}")
            yield materialized(of_learned(learned))

    job = dg.define_asset_job("learn", selection=selection(project), description="Learn the scores of score traits.")
    weekly = dg.ScheduleDefinition(
        name="weekly_learning",
        job=job,
        cron_schedule="45 2 * * 1",
        execution_timezone=project.time_zone,
    )
    return dg.Definitions(assets=[fit_scores], jobs=[job], schedules=[weekly])


def selection(project: Project) -> dg.AssetSelection:
    """All learned scores, which no refresh waits for."""
    return dg.AssetSelection.assets(*(asset_key(score_key(trait.name)) for trait in score_traits(project)))


def _spec(trait: Trait) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key(score_key(trait.name)),
        group_name="learning",
        deps=[dg.AssetKey(["features", f"{trait.entity}_features"])],
        kinds={"scikitlearn"},
        owners=[f"team:{trait.owner}"],
        description=(
            f"Points of {trait.title}, fitted to what came of users and accounts in the past and tested on later days. "
            f"A model that does not hold in its test is never used. Outcome: {trait.outcome.title}."
        ),
    )
