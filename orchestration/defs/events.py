"""Events of assets in Dagster's words: as what a step yields, and as what is reported without a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration.pipeline.asset_events import AssetEvent, Checked, Key, Materialized

POOL = "warehouse"


def asset_key(key: Key) -> dg.AssetKey:
    """The key as Dagster has it."""
    return dg.AssetKey(list(key))


def metadata_of(event: AssetEvent) -> dict[str, Any]:
    """Numbers and texts as they are; paths, lists and dictionaries so that the page shows them as such."""
    shown: dict[str, Any] = {
        name: dg.MetadataValue.json(value) if isinstance(value, Mapping | list | tuple) else value
        for name, value in event.metadata.items()
    }
    return shown | {name: dg.MetadataValue.path(path) for name, path in event.paths.items()}


def materialized(event: Materialized, **more: Any) -> dg.MaterializeResult[None]:
    """What a step yields; ``more`` is metadata that only Dagster shows."""
    return dg.MaterializeResult(
        asset_key=asset_key(event.asset),
        metadata=metadata_of(event) | more,
        data_version=dg.DataVersion(event.data_version) if event.data_version else None,
    )


def checked(event: Checked) -> dg.AssetCheckResult:
    """What a step yields."""
    return dg.AssetCheckResult(
        asset_key=asset_key(event.asset),
        check_name=event.check,
        passed=event.passed,
        severity=_severity(event),
        description=event.description,
        metadata=metadata_of(event),
    )


def without_run(event: AssetEvent, recorded_at: float) -> dg.AssetMaterialization | dg.AssetCheckEvaluation:
    """What is reported of a command-line run, with the time at which it was recorded."""
    metadata = metadata_of(event) | {"recorded_at": dg.MetadataValue.timestamp(recorded_at)}
    if isinstance(event, Checked):
        return dg.AssetCheckEvaluation(
            asset_key=asset_key(event.asset),
            check_name=event.check,
            passed=event.passed,
            severity=_severity(event),
            description=event.description,
            metadata=metadata,
        )
    return logged(event, recorded_at=metadata["recorded_at"])


def logged(event: Materialized, **more: Any) -> dg.AssetMaterialization:
    """An event of an asset that no step of this run yields; ``more`` is metadata that only Dagster shows."""
    return dg.AssetMaterialization(
        asset_key=asset_key(event.asset),
        metadata=metadata_of(event) | more,
        partition=event.partition,
        tags={"dagster/data_version": event.data_version} if event.data_version else None,
    )


def _severity(event: Checked) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if event.is_critical else dg.AssetCheckSeverity.WARN
