"""Published traits and the serving snapshot: only traits that passed are materialized."""

import base64
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from orchestration.declarations.traits import Trait
from orchestration.defs.landing import POOL
from orchestration.defs.warehouse import candidate_key
from orchestration.home import Home
from orchestration.pipeline.refresh import publish_build
from orchestration.publishing.publish import PublishReport, TraitReport
from orchestration.publishing.snapshot import served_manifest
from orchestration.serving.snapshot import rows, snapshot
from orchestration.transform.dbt import Project

# The refresh is daily; what was not published by the next one and two hours is overdue, withheld traits among it.
FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=26))
SNAPSHOT_KEY = dg.AssetKey(["serving", "snapshot"])


def published_key(trait: str) -> dg.AssetKey:
    """Asset of a published trait."""
    return dg.AssetKey(["traits", trait])


def definitions(home: Home, project: Project) -> dg.Definitions:
    """One step that publishes all that passed; what was withheld yields nothing and keeps its last values."""
    traits = project.catalog.traits

    @dg.multi_asset(
        name="publishing",
        specs=[
            *(_spec(trait) for trait in traits),
            dg.AssetSpec(
                SNAPSHOT_KEY,
                group_name="serving",
                freshness_policy=FRESHNESS,
                deps=[published_key(trait.name) for trait in traits],
                kinds={"duckdb", "parquet"},
                description="What BI tools, syncs and the API read: serving/current in the home.",
            ),
        ],
        pool=POOL,
    )
    def publishing(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        report = publish_build(project, notify=context.log.info)
        history = _prevalence_history(home, report)
        for trait in report.traits:
            if trait.verdict == "passed":
                yield dg.MaterializeResult(
                    asset_key=published_key(trait.trait),
                    metadata=_metadata(report, trait, history.get(trait.trait, [])),
                )
            else:
                context.log.warning(f"{trait.trait} is withheld ({trait.verdict}): {trait.reason}")
        yield dg.MaterializeResult(
            asset_key=SNAPSHOT_KEY,
            metadata={
                "build_id": str(report.snapshot),
                "as_of": str(report.as_of),
                "published": report.published,
                "withheld": ", ".join(trait.trait for trait in report.withheld) or "none",
                "path": dg.MetadataValue.path(home.serving / "current"),
                **_cost(home),
                "data_docs": dg.MetadataValue.path(str(home.status().get("data_docs"))),
            },
        )
        if report.failed_models:
            # What depends on them was withheld, the rest is published; the run is red all the same.
            raise dg.Failure("; ".join(report.failed_models), allow_retries=False)

    return dg.Definitions(assets=[publishing])


def _spec(trait: Trait) -> dg.AssetSpec:
    return dg.AssetSpec(
        published_key(trait.name),
        group_name="traits",
        deps=[candidate_key(trait)],
        skippable=True,
        freshness_policy=FRESHNESS,
        kinds={"duckdb"},
        owners=[f"team:{trait.owner}"],
        description=f"{trait.title}. {trait.description}\n\n{trait.purpose}",
    )


def _metadata(report: PublishReport, trait: TraitReport, history: Sequence[float]) -> dict[str, Any]:
    return {
        "dagster/row_count": trait.population,
        "eligible": trait.eligible,
        "members": trait.members,
        "prevalence": round(trait.prevalence, 4),
        "changes": trait.changes,
        "entered": trait.entered,
        "left": trait.left,
        "build_id": report.build_id,
        "prevalence_history": dg.MetadataValue.md(bar_chart([*history, trait.prevalence][-30:])),
    }


def _cost(home: Home) -> dict[str, Any]:
    """Seconds and bytes of the snapshot that is served; nothing of one that an earlier version wrote."""
    manifest = served_manifest(home)
    told = ("seconds", "bytes_written", "bytes_shared")
    return {f"snapshot_{name}": manifest[name] for name in told if name in manifest}


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
