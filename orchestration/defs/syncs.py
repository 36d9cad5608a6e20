"""Reverse syncs and copies of tables: one asset each, downstream of the snapshot, with a check on failed deliveries."""

from collections.abc import Callable, Iterator

import dagster as dg

from orchestration.declarations.syncs import Sync
from orchestration.declarations.table_copies import TableCopy
from orchestration.defs.events import asset_key, checked, materialized
from orchestration.home import Notify
from orchestration.pipeline.asset_events import SNAPSHOT, AssetEvent, Checked, sync_key
from orchestration.pipeline.asset_reports import of_copy, of_sync
from orchestration.sync.engine import run_sync
from orchestration.sync.tables import copy_tables
from orchestration.sync.validate import checked_destination
from orchestration.transform.dbt import Project


def definitions(project: Project) -> dg.Definitions:
    """One asset for each declared sync and each copy of tables; a sync with a schedule of its own has a job for it.

    Raises:
        UsageError: a destination cannot hold what a sync wants of it.

    """
    for sync in project.catalog.syncs:
        checked_destination(project.catalog, sync)
    return dg.Definitions(
        assets=[
            *(_asset(project, sync) for sync in project.catalog.syncs),
            *(_copy_asset(project, copy) for copy in project.catalog.table_copies),
        ],
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
    def run(notify: Notify) -> Iterator[AssetEvent]:
        return of_sync(run_sync(project.home, project.catalog, sync, notify=notify))

    return _delivered(sync, sync.destination, "Every planned record was acknowledged.", run)


def _copy_asset(project: Project, copy: TableCopy) -> dg.AssetsDefinition:
    def run(notify: Notify) -> Iterator[AssetEvent]:
        return of_copy(copy_tables(project.home, project.catalog, copy, notify=notify))

    return _delivered(copy, "database", "The transaction was committed.", run)


def _delivered(
    declared: Sync | TableCopy, kind: str, what: str, run: Callable[[Notify], Iterator[AssetEvent]]
) -> dg.AssetsDefinition:
    key = asset_key(sync_key(declared.name))

    @dg.multi_asset(
        name=f"sync_{declared.name}",
        specs=[
            dg.AssetSpec(
                key, group_name="syncs", deps=[asset_key(SNAPSHOT)], kinds={kind}, description=declared.description
            )
        ],
        check_specs=[dg.AssetCheckSpec("delivered", asset=key, description=what)],
    )
    def deliver(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        for event in run(context.log.info):
            yield checked(event) if isinstance(event, Checked) else materialized(event)

    return deliver
