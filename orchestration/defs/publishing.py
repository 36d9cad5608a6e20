"""Published traits and the serving snapshot: only traits that passed are materialized."""

import base64
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from orchestration.declarations.traits import Trait
from orchestration.defs.events import POOL, asset_key, logged, materialized
from orchestration.defs.lease import LEASE, RunLease
from orchestration.home import Home
from orchestration.pipeline.alerts import tell_hook
from orchestration.pipeline.asset_events import SNAPSHOT, Materialized, candidate_key, published_key
from orchestration.pipeline.asset_reports import of_publish
from orchestration.pipeline.refresh import publish_build
from orchestration.publishing.publish import PublishReport
from orchestration.serving.snapshot import rows, snapshot
from orchestration.transform.dbt import Project

# The refresh is daily; what was not published by the next one and two hours is overdue, withheld traits among it.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26))


def definitions(project: Project) -> dg.Definitions:
    """One step that publishes all that passed; what was withheld yields nothing and keeps its last values."""
    traits = project.catalog.traits

    @dg.multi_asset(
        name="publishing",
        specs=[
            *(_spec(trait) for trait in traits),
            dg.AssetSpec(
                asset_key(SNAPSHOT),
                group_name="serving",
                freshness_policy=FRESHNESS,
                deps=[asset_key(published_key(trait.name)) for trait in traits],
                kinds={"duckdb", "parquet"},
                description="What BI tools, syncs and the API read: the folder serving/current in the home.",
            ),
        ],
        pool=POOL,
        required_resource_keys={LEASE},
    )
    def publishing(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        lease: RunLease = context.resources.lease
        try:
            report = publish_build(project, build_id=lease.build_id, tell=False, notify=context.log.info)
        finally:
            lease.release()
        tell_hook(project.home, report, notify=context.log.info)
        for trait in report.traits:
            if trait.verdict != "passed":
                context.log.warning(f"{trait.trait} is withheld ({trait.verdict}): {trait.reason}")
        history = _prevalence_history(project.home, report)
        for event in of_publish(project, report):
            if event.partition:
                # The days of history are assets of another step.
                context.log_event(logged(event))
                continue
            yield materialized(event, **_chart(event, history.get(event.asset[-1], [])))
        if report.failed_models:
            # What depends on them was withheld, the rest is published; the run is red all the same.
            raise dg.Failure("; ".join(report.failed_models), allow_retries=False)

    return dg.Definitions(assets=[publishing])


def _spec(trait: Trait) -> dg.AssetSpec:
    return dg.AssetSpec(
        asset_key(published_key(trait.name)),
        group_name="traits",
        deps=[asset_key(candidate_key(trait.name))],
        skippable=True,
        freshness_policy=FRESHNESS,
        kinds={"duckdb"},
        owners=[f"team:{trait.owner}"],
        description=f"{trait.title}. {trait.description}\n\n{trait.purpose}",
    )


def _chart(event: Materialized, history: Sequence[float]) -> dict[str, Any]:
    """The last prevalences of a trait, drawn; nothing for the snapshot."""
    if "prevalence" not in event.metadata:
        return {}
    return {"prevalence_history": dg.MetadataValue.md(bar_chart([*history, event.metadata["prevalence"]][-30:]))}


def _prevalence_history(home: Home, report: PublishReport) -> dict[str, list[float]]:
    """Prevalence of each trait in the builds published before this one, oldest first."""
    if report.snapshot is None:
        return {}
    with snapshot(home) as connection:
        found = rows(
            connection,
            """
            select trait, list(members / population order by build_id) as prevalence
            from traits.gate_verdicts where verdict = 'passed' and population > 0 and build_id < $1 group by trait
            """,
            [report.build_id],
        )
    return {row["trait"]: row["prevalence"] for row in found}


def bar_chart(values: Sequence[float]) -> str:
    """A small bar chart as a Markdown image, the last bar being the newest."""
    width, height, top = 8, 48, max(values) or 1.0
    bars = "".join(
        f'<rect x="{index * (width + 2)}" y="{height - height * value / top:.1f}" width="{width}"'
        f' height="{height * value / top:.1f}" fill="{"#4f43dd" if index == len(values) - 1 else "#a7a1f0"}"/>'
        for index, value in enumerate(values)
    )
    total = len(values) * (width + 2)
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height}">{bars}</svg>'
    encoded = base64.b64encode(drawing.encode()).decode()
    return f"![prevalence](data:image/svg+xml;base64,{encoded})\n\nnow {values[-1]:.1%}, highest {top:.1%}"
