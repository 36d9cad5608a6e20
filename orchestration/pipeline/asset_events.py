"""Events of assets: what a run made and checked, in plain records.

The command line writes them to Dagster's outbox (pipeline/outbox.py), and defs/ turns them into Dagster's words; what
they say of a run is decided in pipeline/asset_reports.py. Nothing here imports Dagster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, ...]
RAW_EVENTS: Key = ("raw", "events")
SNAPSHOT: Key = ("serving", "snapshot")


def candidate_key(trait: str) -> Key:
    """Asset of a trait's candidate."""
    return ("candidates", trait)


def published_key(trait: str) -> Key:
    """Asset of a published trait."""
    return ("traits", trait)


def history_key(trait: str) -> Key:
    """Asset of a trait's backfilled days."""
    return ("history", trait)


def score_key(trait: str) -> Key:
    """Asset of a learned score."""
    return ("learning", trait)


def sync_key(sync: str) -> Key:
    """Asset of a sync."""
    return ("syncs", sync)


@dataclass(frozen=True)
class Materialized:
    """An asset was made.

    Attributes:
        asset: its key.
        metadata: numbers and texts; lists and dictionaries are shown as JSON.
        paths: metadata that are paths of files.
        partition: the day, where the asset has days.
        data_version: equal versions hold equal data; Dagster makes one up when there is none.

    """

    asset: Key
    metadata: Mapping[str, Any]
    paths: Mapping[str, str] = field(default_factory=dict)
    partition: str | None = None
    data_version: str | None = None


@dataclass(frozen=True)
class Checked:
    """A check of an asset was evaluated.

    Attributes:
        asset: key of the asset.
        check: name of the check.
        passed: what came out.
        is_critical: whether its failure withholds something.
        description: what was found, in words.
        metadata: as of an asset.
        paths: as of an asset.

    """

    asset: Key
    check: str
    passed: bool
    is_critical: bool
    description: str
    metadata: Mapping[str, Any]
    paths: Mapping[str, str] = field(default_factory=dict)


AssetEvent = Materialized | Checked
