"""Scores are learned once a week; the refresh after it uses them."""

import dagster as dg

from orchestration.defs.landing import POOL
from orchestration.home import Home
from orchestration.transform.dbt import Project


def definitions(home: Home, project: Project) -> dg.Definitions:
    """A job of one step, for it makes no asset that a refresh should wait for, and a schedule."""

    @dg.op(
        name="fit_scores",
        pool=POOL,
        description="Fits the points of score traits to the past and tests them out of time.",
    )
    def learn_scores(context: dg.OpExecutionContext) -> None:
        from orchestration.learning.learn import learn  # brings scikit-learn, which nothing else here waits for

        for one in learn(project, notify=context.log.info):
            said = "in use" if one.model.usable else f"not used: {one.model.reason}"
            context.log.info(f"{one.trait.name}, model {one.version}: {said}")
            context.add_output_metadata({one.trait.name: said})

    @dg.job(name="learn", description="Learn the scores of score traits.")
    def learn_job() -> None:
        learn_scores()

    weekly = dg.ScheduleDefinition(
        name="weekly_learning",
        job=learn_job,
        cron_schedule="45 2 * * 1",
        execution_timezone=project.time_zone,
    )
    return dg.Definitions(jobs=[learn_job], schedules=[weekly])
