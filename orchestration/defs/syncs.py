"""Reverse syncs: one asset each, downstream of the snapshot, with a check on failed deliveries."""

from collections.abc import Iterator

import dagster as dg

from orchestration.declarations.syncs import Sync
from orchestration.defs.publishing import SNAPSHOT_KEY
from orchestration.home import Home
from orchestration.sync.engine import checked_destination, run_sync
from orchestration.transform.dbt import Project


def definitions(home: Home, project: Project) -> dg.Definitions:
    """One asset for each declared sync; one with a schedule of its own has a job for it.

    Raises:
        UsageError: a destination cannot hold what a sync wants of it.

    """
    for sync in project.catalog.syncs:
        checked_destination(project.catalog, sync)
    return dg.Definitions(
        assets=[_asset(project, sync) for sync in project.catalog.syncs],
        schedules=[_schedule(project, sync) for sync in project.catalog.syncs if sync.schedule],
    )


def scheduled_apart(project: Project) -> dg.AssetSelection:
    """Syncs that do not run after each publish."""
    return dg.AssetSelection.assets(*(_key(sync) for sync in project.catalog.syncs if sync.schedule))


def _key(sync: Sync) -> dg.AssetKey:
    return dg.AssetKey(["syncs", sync.name])


def _schedule(project: Project, sync: Sync) -> dg.ScheduleDefinition:
    return dg.ScheduleDefinition(
        name=f"sync_{sync.name}",
        target=dg.AssetSelection.assets(_key(sync)),
        cron_schedule=sync.schedule,
        execution_timezone=project.time_zone,
    )


def _asset(project: Project, sync: Sync) -> dg.AssetsDefinition:
    key = _key(sync)

    @dg.multi_asset(
        name=f"sync_{sync.name}",
        specs=[
            dg.AssetSpec(
                key,
                group_name="syncs",
                deps=[SNAPSHOT_KEY],
                kinds={sync.destination},
                description=sync.description,
            )
        ],
        check_specs=[dg.AssetCheckSpec("delivered", asset=key, description="Every planned record was acknowledged.")],
    )
    def deliver(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        report = run_sync(project.home, project.catalog, sync, notify=context.log.info)
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
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
                "not_sent": dg.MetadataValue.json(report.skipped | report.held),
            },
        )
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name="delivered",
            passed=not (report.error or report.waiting),
            description=report.error or f"{report.waiting} records wait, refused before",
            metadata={
                "failed": report.failed,
                "not_tried": report.not_tried,
                "refused_before": report.waiting,
                "reason": report.error or "none",
            },
        )

    return deliver
