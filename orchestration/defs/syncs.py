"""Reverse syncs: one asset each, downstream of the snapshot, with a check on failed deliveries."""

from collections.abc import Iterator

import dagster as dg

from orchestration.declarations.syncs import Sync
from orchestration.defs.events import asset_key, checked, materialized
from orchestration.pipeline.asset_events import SNAPSHOT, Checked, sync_key
from orchestration.pipeline.asset_reports import of_sync
from orchestration.sync.engine import run_sync
from orchestration.sync.validate import checked_destination
from orchestration.transform.dbt import Project


def definitions(project: Project) -> dg.Definitions:
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
    return asset_key(sync_key(sync.name))


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
                deps=[asset_key(SNAPSHOT)],
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
        for event in of_sync(report):
            yield checked(event) if isinstance(event, Checked) else materialized(event)

    return deliver
