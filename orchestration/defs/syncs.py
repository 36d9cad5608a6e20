"""Reverse syncs: one asset each, downstream of the snapshot, with a check on failed deliveries."""

from collections.abc import Iterator

import dagster as dg

from orchestration.catalog import Sync
from orchestration.defs.publishing import SNAPSHOT_KEY
from orchestration.project import House
from orchestration.sync.engine import run_sync
from orchestration.warehouse.dbt import DbtProject


def definitions(house: House, project: DbtProject) -> dg.Definitions:
    """One asset for each declared sync."""
    return dg.Definitions(assets=[_asset(house, project, sync) for sync in project.catalog.syncs])


def _asset(house: House, project: DbtProject, sync: Sync) -> dg.AssetsDefinition:
    key = dg.AssetKey(["syncs", sync.name])

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
        report = run_sync(house, project.catalog, sync, notify=context.log.info)
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                "planned": report.planned,
                "delivered": report.delivered,
                "failed": report.failed,
                "not_tried": report.not_tried,
                "dry_run": report.why_dry or report.dry_run,
            },
        )
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name="delivered",
            passed=not (report.failed or report.not_tried),
            description=report.error or "nothing failed",
            metadata={
                "failed": report.failed,
                "not_tried": report.not_tried,
                "reason": report.error or "none",
            },
        )

    return deliver
