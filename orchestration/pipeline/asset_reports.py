"""What a run did, as events of assets: the same for command-line runs and for Dagster's own steps.

Numbers stay numbers, so that Dagster plots them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.gates.data_docs import page_of_check
from orchestration.gates.source_checks import MEASURED_CHECKS, ROW_CHECKS, source_check_names
from orchestration.gates.source_verdicts import SourceVerdict
from orchestration.gates.verdicts import Verdict
from orchestration.home import Home
from orchestration.pipeline.asset_events import (
    RAW_EVENTS,
    SNAPSHOT,
    AssetEvent,
    Checked,
    Materialized,
    candidate_key,
    history_key,
    published_key,
    score_key,
    sync_key,
)
from orchestration.pipeline.backfill import HistoryDay
from orchestration.pipeline.refresh import Written
from orchestration.publishing.publish import PublishReport, TraitReport
from orchestration.publishing.rollback import RollbackReport
from orchestration.publishing.snapshot import served_manifest
from orchestration.sync.report import CopyReport, SyncReport
from orchestration.transform.clock import end_of_day, local_date
from orchestration.transform.dbt import Project
from orchestration.transform.node_results import is_trait
from orchestration.transform.runner import NodeResult

if TYPE_CHECKING:  # these bring pandas or scikit-learn, which most commands need not wait for
    from orchestration.landing.loads import LoadReport
    from orchestration.landing.pull import PullReport
    from orchestration.learning.learn import Learned


def of_loads(home: Home, reports: Sequence[LoadReport | PullReport], source: str) -> Materialized:
    """Raw events after loads and pulls; ``source`` says in words what was loaded."""
    totals = home.status().get("loads") or {}
    return Materialized(
        RAW_EVENTS,
        {
            "source": source,
            "accepted": sum(report.accepted for report in reports),
            "duplicates": sum(report.duplicates for report in reports),
            "rejected": sum(report.rejected for report in reports),
            "dagster/row_count": totals.get("accepted") or 0,
            "newest_event_at": str(totals.get("newest_event_at")),
        },
        data_version=f"load-{totals.get('load_id') or 0}",
    )


def of_load(home: Home, report: LoadReport | PullReport, source: str) -> Materialized:
    """Raw events after one load or pull, or the vendor's table that it went into."""
    event = of_loads(home, [report], source)
    table = tuple(report.table.split("."))
    if table == RAW_EVENTS:
        return event
    counts = {name: event.metadata[name] for name in ("source", "accepted", "duplicates", "rejected")}
    return replace(event, asset=table, metadata=counts)


def of_models(project: Project, results: Iterable[NodeResult], build_id: str) -> Iterator[Materialized]:
    """Seeds and models of a build that ran, in the order in which they ended.

    A candidate that failed has its old rows and a red check; the others of a failed node's kind say nothing.
    """
    nodes = project.manifest_dict["nodes"]
    for result in results:
        if result.ok or is_trait(project, result.unique_id):
            node = nodes[result.unique_id]
            metadata = {"status": result.status, "seconds": result.seconds, "build_id": build_id}
            yield Materialized((node["schema"], node["name"]), metadata)


def of_candidate_audit(home: Home, verdicts: Iterable[Verdict]) -> Iterator[Checked]:
    """Each check of the candidate audit."""
    index = Path(home.status().get("data_docs") or "none")
    for verdict in verdicts:
        for check in verdict.checks:
            page = page_of_check(index, verdict.trait, check.name)
            yield Checked(
                candidate_key(verdict.trait),
                check.name,
                passed=check.passed,
                is_critical=check.severity == "critical",
                description=f"expected {check.expected}; found {check.observed}",
                metadata={
                    "expected": check.expected,
                    "observed": check.observed,
                    "severity": check.severity,
                    "population": verdict.population,
                    "prevalence": round(verdict.prevalence, 4),
                    "build_id": verdict.build_id,
                    "as_of": str(verdict.as_of),
                },
                paths={"data_docs": str(page)} if page else {},
            )


def of_source_checks(verdicts: Sequence[SourceVerdict]) -> Iterator[Checked]:
    """Each source check, over all sources of a build."""
    for name in source_check_names():
        found = {verdict.source: check for verdict in verdicts for check in verdict.checks if check.name == name}
        failed = {source: check for source, check in found.items() if not check.passed}
        critical = name in ROW_CHECKS or MEASURED_CHECKS[name].severity == "critical"
        touched = {trait for verdict in verdicts if verdict.source in failed for trait in verdict.touched}
        yield Checked(
            RAW_EVENTS,
            name,
            passed=not failed,
            is_critical=critical,
            description="; ".join(f"{source}: found {check.observed}" for source, check in (failed or found).items()),
            metadata={
                "observed": {source: check.observed for source, check in found.items()},
                "withheld": ", ".join(sorted(touched)) if critical and touched else "none",
                "sources": len(found),
                "failed_sources": len(failed),
                "build_id": verdicts[0].build_id if verdicts else "none",
            },
        )


def of_publish(project: Project, report: PublishReport) -> Iterator[Materialized]:
    """Traits that were published, their days, and the snapshot; a withheld trait says nothing."""
    home = project.home
    for trait in report.traits:
        if trait.verdict == "passed":
            yield of_published_trait(report, trait)
            yield from of_published_day(project, report, trait)
    yield Materialized(
        SNAPSHOT,
        {
            "build_id": str(report.snapshot),
            "as_of": str(report.as_of),
            "published": report.published,
            "published_traits": sum(trait.verdict == "passed" for trait in report.traits),
            "withheld_traits": len(report.withheld),
            "withheld": ", ".join(trait.trait for trait in report.withheld) or "none",
            **_cost(home),
        },
        paths={
            "path": str(home.serving / "current"),
            "data_docs": str(home.status().get("data_docs")),
        },
        data_version=str(report.snapshot),
    )


def of_published_trait(report: PublishReport, trait: TraitReport) -> Materialized:
    """A trait that was published."""
    return Materialized(
        published_key(trait.trait),
        {
            "dagster/row_count": trait.population,
            "eligible": trait.eligible,
            "members": trait.members,
            "prevalence": round(trait.prevalence, 4),
            "changes": trait.changes,
            "entered": trait.entered,
            "left": trait.left,
            "build_id": report.build_id,
            "as_of": str(report.as_of),
        },
    )


def of_published_day(project: Project, report: PublishReport, trait: TraitReport) -> Iterator[Materialized]:
    """The day that a publish ends, in the trait's history; none when its clock is no midnight (reporting time zone)."""
    day = local_date(report.as_of, project.time_zone) - timedelta(days=1)
    if end_of_day(day, project.time_zone) == report.as_of:
        published = of_published_trait(report, trait)
        metadata = {"publishable": True, **published.metadata}
        yield replace(published, asset=history_key(trait.trait), metadata=metadata, partition=day.isoformat())


def _cost(home: Home) -> dict[str, Any]:
    """Seconds and bytes of the snapshot that is served; nothing of one that an earlier version wrote."""
    manifest = served_manifest(home)
    costs = ("seconds", "bytes_written", "bytes_shared")
    return {f"snapshot_{name}": manifest[name] for name in costs if name in manifest}


def of_refresh(project: Project, written: Written, published: PublishReport) -> Iterator[AssetEvent]:
    """All that a whole refresh did."""
    yield from of_models(project, written.results, written.build.build_id)
    yield from of_candidate_audit(project.home, written.verdicts)
    yield from of_source_checks(written.source_verdicts)
    yield from of_publish(project, published)


def of_history_day(day: HistoryDay) -> Materialized:
    """One day of one trait that a backfill wrote."""
    metadata = {
        "publishable": day.publishable,
        "changes": day.changes,
        "as_of": str(day.as_of),
        "definition_version": day.version,
        "build_id": day.build_id,
    }
    if day.publishable:
        prevalence = round(day.members / day.population, 4) if day.population else 0.0
        metadata |= {"dagster/row_count": day.population, "members": day.members, "prevalence": prevalence}
    return Materialized(history_key(day.trait), metadata, partition=day.day.isoformat())


def of_rollback(home: Home, report: RollbackReport) -> Materialized:
    """The snapshot after a rollback."""
    return Materialized(
        SNAPSHOT,
        {
            "build_id": report.build_id,
            "as_of": str(report.as_of),
            "rolled_back_to": report.to,
            "undone": len(report.undone),
            "changes": report.changes,
        },
        paths={"path": str(home.serving / "current")},
        data_version=report.build_id,
    )


def of_learned(learned: Learned) -> Materialized:
    """A score that was fitted and tested."""
    model = learned.model
    numbers = {name: value for name, value in model.row.items() if isinstance(value, int | float) and value == value}
    return Materialized(
        score_key(learned.trait.name),
        {
            **numbers,
            "usable": model.usable,
            "reason": model.reason or "none",
            "model_version": learned.version,
        },
        data_version=str(learned.version),
    )


def of_sync(report: SyncReport) -> Iterator[AssetEvent]:
    """A sync that ran, and whether all was delivered."""
    key = sync_key(report.sync)
    yield Materialized(
        key,
        {
            "planned": report.planned,
            "delivered": report.delivered,
            "failed": report.failed,
            "skipped": sum(report.skipped.values()),
            "not_tried": report.not_tried,
            "refused_before": report.waiting,
            "operations": report.operations,
            "retries": report.retries,
            "waited_seconds": report.waited_seconds,
            "dry_run": report.why_dry or report.dry_run,
            "paused": report.paused or "no",
            "not_sent": report.skipped | report.held,
        },
    )
    yield Checked(
        key,
        "delivered",
        passed=not (report.error or report.waiting),
        is_critical=True,
        description=report.error or f"{report.waiting} records wait, refused before",
        metadata={
            "failed": report.failed,
            "not_tried": report.not_tried,
            "refused_before": report.waiting,
            "reason": report.error or "none",
        },
    )


def of_copy(report: CopyReport) -> Iterator[AssetEvent]:
    """Published tables that were copied into a database, and whether it took them."""
    key = sync_key(report.copy)
    counts = {f"{table.table}_{name}": getattr(table, name) for table in report.tables for name in ("written", "rows")}
    yield Materialized(key, {"build_id": report.build_id, "dry_run": report.why_dry or report.dry_run} | counts)
    yield Checked(key, "delivered", passed=not report.error, is_critical=True, description=report.error, metadata={})
