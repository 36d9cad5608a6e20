"""Plan, deliver, acknowledge.

The plan is the published snapshot minus what was acknowledged, so resuming after a crash is planning again: a change
is delivered at least once, and a row counts as sent only when it was acknowledged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import duckdb
from filelock import FileLock, Timeout
from pydantic import ValidationError

from orchestration.catalog import Catalog, Sync, Trait
from orchestration.destinations import Destination, Record, destinations
from orchestration.errors import UsageError, WarehouseBusyError
from orchestration.project import House, Notify, silent, utc_now
from orchestration.sync.ledger import LogEntry, SyncLedger

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class SyncReport:
    """What one sync did.

    Attributes:
        sync: its name.
        destination: kind of destination.
        dry_run: whether nothing was sent.
        why_dry: why, when that was not asked for.
        planned: records that differ from what was acknowledged.
        delivered: records acknowledged now.
        failed: records that were refused or not answered.
        not_tried: records left for the next run, because a whole batch had failed.
        error: the most frequent reason of failure, or why the sync could not run.
        samples: the first records of a dry run.

    """

    sync: str
    destination: str
    dry_run: bool
    why_dry: str
    planned: int
    delivered: int = 0
    failed: int = 0
    not_tried: int = 0
    error: str = ""
    samples: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def run_sync(
    house: House, catalog: Catalog, sync: Sync, *, dry_run: bool = False, notify: Notify = silent
) -> SyncReport:
    """Runs one sync against the snapshot that is served now.

    Raises:
        UsageError: nothing is published yet, or the declaration cannot be used.
        WarehouseBusyError: another process is syncing.

    """
    kind = destination_of(sync)
    why_dry = ""
    if kind.remote and not house.settings.is_production and not dry_run:
        why_dry = f"TRAITHOUSE_ENV is {house.settings.env}; remote destinations are served in production only"
    dry = dry_run or bool(why_dry)
    with one_sync_at_a_time(house), SyncLedger(house) as ledger:
        records = plan(house, catalog, sync, ledger)
        notify(f"sync {sync.name}: {len(records)} to deliver")
        if dry:
            samples = tuple(record.message() for record in records[:3])
            return SyncReport(sync.name, sync.destination, True, why_dry, len(records), samples=samples)
        started_at = utc_now()
        with closing(kind(sync.options, house.outbox)) as destination:
            report = _deliver(destination, sync, records, ledger, notify)
        if records:
            ledger.log(
                LogEntry(
                    sync=sync.name,
                    started_at=started_at.isoformat(" "),
                    ended_at=utc_now().isoformat(" "),
                    build_id=records[0].build_id,
                    dry_run=False,
                    planned=report.planned,
                    delivered=report.delivered,
                    failed=report.failed,
                )
            )
    return report


def destination_of(sync: Sync) -> type[Destination]:
    """The class that a sync names, its options checked.

    Raises:
        UsageError: there is no such destination, or it does not know an option.

    """
    kinds = destinations()
    if sync.destination not in kinds:
        raise UsageError(
            f"sync {sync.name}: there is no destination {sync.destination}.",
            f"There are: {', '.join(sorted(kinds))}.",
        )
    kind = kinds[sync.destination]
    try:
        kind.options_type.model_validate(sync.options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(kind.options_type.model_fields)
        raise UsageError(f"sync {sync.name}: options.{key}: {first['msg']}.", f"Options are: {known}.") from None
    return kind


def plan(
    house: House,
    catalog: Catalog,
    sync: Sync,
    ledger: SyncLedger,
    instead: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> list[Record]:
    """Records whose values differ from what was acknowledged, by entity.

    ``instead`` has, by trait and entity, values that count in place of what is published.
    """
    traits = {trait.name: trait for trait in catalog.traits_of(sync)}
    known = ledger.acknowledged(sync.name, sync.entity)
    forgotten = ledger.forgotten(sync.name, sync.entity)
    desired, reasons, build_id, as_of = _published(house, sync, traits)
    for name, values in instead.items():
        for published in desired.values():
            published.pop(name, None)
        for entity_id, value in values.items():
            desired.setdefault(entity_id, {})[name] = _typed(traits[name], value)
    nothing: tuple[dict[str, Any], str] = ({}, "")
    records = []
    for entity_id in sorted(desired.keys() | known.keys()):
        have, acknowledged_build_id = known.get(entity_id, nothing)
        want = desired.get(entity_id, {})
        # What was sent and is no longer published is cleared, in words.
        want = want | {name: None for name, value in have.items() if name not in want and value is not None}
        changed = {name: have.get(name) for name in want if want[name] != have.get(name)}
        if changed:
            records.append(
                Record(
                    sync=sync.name,
                    entity_type=sync.entity,
                    entity_id=entity_id,
                    traits=dict(sorted(want.items())),
                    changed=dict(sorted(changed.items())),
                    reasons={name: reasons[entity_id, name] for name in changed if (entity_id, name) in reasons},
                    build_id=build_id,
                    acknowledged_build_id=acknowledged_build_id,
                    as_of=as_of,
                    forgotten=entity_id in forgotten,
                )
            )
    return records


def _published(
    house: House, sync: Sync, traits: dict[str, Trait]
) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], str], str, datetime]:
    current = house.serving / "current"
    if not current.exists():
        raise UsageError("Nothing is published yet.", "traithouse refresh publishes what passes its gate.")
    # Resolved once: a publish that moves the link meanwhile cannot mix two builds.
    folder = current.resolve()
    manifest = json.loads((folder / "manifest.json").read_text())
    desired: dict[str, dict[str, Any]] = {}
    reasons = {}
    with duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            """
            select entity_id, trait, value, reason from traits.trait_values
            where entity_type = $1 and list_contains($2, trait)
            """,
            [sync.entity, list(traits)],
        )
        while batch := rows.fetchmany(10_000):
            for entity_id, name, value, reason in batch:
                desired.setdefault(entity_id, {})[name] = _typed(traits[name], value)
                reasons[entity_id, name] = reason
    return desired, reasons, manifest["build_id"], datetime.fromisoformat(manifest["as_of"])


def _typed(trait: Trait, text: str) -> bool | float | str:
    if trait.type == "boolean":
        return text == "true"
    return float(text) if trait.type == "number" else text


def _deliver(
    destination: Destination,
    sync: Sync,
    records: Sequence[Record],
    ledger: SyncLedger,
    notify: Notify,
) -> SyncReport:
    """Deliver batch by batch; a batch in which nothing got through to a destination that is down ends the run."""
    delivered, tried = 0, 0
    reasons: list[str] = []
    queue = iter(records)
    while batch := list(islice(queue, destination.batch_size)):
        outcomes = destination.deliver(batch)
        ledger.settle(sync.name, zip(batch, outcomes, strict=True))
        tried += len(batch)
        delivered += outcomes.count(None)
        reasons += [failure.reason for failure in outcomes if failure]
        notify(f"sync {sync.name}: {delivered} of {len(records)} delivered")
        if all(failure and failure.destination_down for failure in outcomes):
            break
    return SyncReport(
        sync=sync.name,
        destination=sync.destination,
        dry_run=False,
        why_dry="",
        planned=len(records),
        delivered=delivered,
        failed=len(reasons),
        not_tried=len(records) - tried,
        error=max(sorted(set(reasons)), key=reasons.count) if reasons else "",
    )


@contextmanager
def one_sync_at_a_time(house: House) -> Iterator[None]:
    """Holds the right to deliver from a home.

    Raises:
        WarehouseBusyError: another process is syncing.

    """
    house.prepare()
    path: Path = house.root / "sync.lock"
    try:
        with FileLock(path, timeout=house.settings.lock_wait_seconds):
            yield
    except Timeout:
        raise WarehouseBusyError(
            "Another process is syncing from this home.",
            "Wait until it has ended, then sync again.",
        ) from None
