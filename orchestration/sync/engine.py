"""Plan, deliver, acknowledge: one sync against the snapshot that is served now.

A change is delivered at least once, in order for each record, and a row counts as sent only when it was acknowledged.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.destinations import Destination, Record, destinations
from orchestration.errors import UsageError, WarehouseBusyError
from orchestration.home import Home, Notify, silent, utc_now
from orchestration.sync.audience import content_hash, declaration_hash
from orchestration.sync.deliver import Delivery, deliver
from orchestration.sync.ledger import Run, SyncLedger
from orchestration.sync.plan import Plan, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY_SYNC = "*"
SAMPLES = 3


@dataclass(frozen=True)
class SyncReport:
    """What one sync did.

    Attributes:
        sync: its name.
        destination: kind of destination.
        dry_run: whether nothing was sent.
        why_dry: why, when that was not asked for.
        refusal: of a dry run, why a real one would send nothing: the breaker, or that it only begins.
        planned: records that differ from what was acknowledged.
        delivered: records acknowledged now.
        failed: records that were refused or not answered.
        not_tried: records left for the next run.
        waiting: records that were refused before, as they are now; not sent again before they change.
        skipped: reason -> entities that are not sent, and why that is no failure.
        held: trait -> why its fields stay as they are.
        operations: what the vendor bills or counts: of a dry run an estimate, else of what was acknowledged.
        retries: batches that were sent again.
        waited_seconds: how long limits and pauses held the run.
        error: the most frequent reason of failure, or why the sync could not run.
        paused: why nothing is sent, when a person said so.
        samples: of a dry run, what would be sent of the first records.

    """

    sync: str
    destination: str
    dry_run: bool = False
    why_dry: str = ""
    refusal: str = ""
    planned: int = 0
    delivered: int = 0
    failed: int = 0
    not_tried: int = 0
    waiting: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    operations: int = 0
    retries: int = 0
    waited_seconds: float = 0.0
    error: str = ""
    paused: str = ""
    samples: tuple[Any, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def run_sync(
    home: Home,
    catalog: Catalog,
    sync: Sync,
    *,
    dry_run: bool = False,
    force: bool = False,
    retry_refused: bool = False,
    notify: Notify = silent,
) -> SyncReport:
    """Runs one sync.

    Args:
        home: where.
        catalog: what is declared.
        sync: which.
        dry_run: send nothing.
        force: the breaker lets the plan through.
        retry_refused: send also what was refused as it is.
        notify: progress.

    Raises:
        UsageError: nothing is published yet, the declaration cannot be used, or the breaker refuses the plan.
        WarehouseBusyError: another process is syncing.

    """
    kind = checked_destination(catalog, sync)
    why_dry = ""
    if kind.is_remote(sync) and not home.settings.is_production and not dry_run:
        why_dry = f"TRAITHOUSE_ENV is {home.settings.env}; remote destinations are served in production only"
    dry = dry_run or bool(why_dry)
    with one_sync_at_a_time(home), SyncLedger(home) as ledger:
        paused = _paused(ledger, sync)
        if paused and not dry:
            return SyncReport(sync.name, sync.destination, paused=paused)
        seen = _seen(home, catalog, sync)
        if not retry_refused and (settled := _settled(home, catalog, sync, ledger, seen)):
            notify(f"sync {sync.name}: nothing has changed since it was last delivered")
            return SyncReport(
                sync.name, sync.destination, dry, why_dry, skipped=settled["skipped"], held=settled["held"]
            )
        _check_place(kind, sync, ledger, force=force, dry=dry)
        content = content_hash(home, catalog, sync)
        made = plan(home, catalog, sync, ledger, retry_refused=retry_refused)
        # A build that was published meanwhile may be in the plan, and nothing is known of it.
        settles = [seen, content] if _seen(home, catalog, sync) == seen else []
        notify(f"sync {sync.name}: {len(made.records)} to deliver")
        with closing(kind(sync, home.outbox)) as destination:
            if dry:
                return _dry(destination, made, ledger, why_dry)
            return _run(destination, made, ledger, settles, force=force, notify=notify)


def _run(
    destination: Destination, made: Plan, ledger: SyncLedger, settles: Sequence[str], *, force: bool, notify: Notify
) -> SyncReport:
    sync = destination.sync
    ledger.resource(sync.name, made.sources)
    ledger.drop_letters(sync.name, made.settled)
    if _only_begins(sync, made, ledger):
        ledger.take_as_sent(made.records)
        ledger.note(sync.name, "begun", utc_now().isoformat(" "))
        ledger.note(sync.name, "settled", _settlement(made, settles))
        notify(f"sync {sync.name}: begins now; {len(made.records)} records count as sent")
        return _report(destination, made, Delivery(), planned=0)
    if not force and (why := _breaks(destination, made)):
        raise UsageError(f"{sync.where}: {why}", "Look at traithouse sync --dry-run; --force lets it through.")
    started_at = utc_now()
    within, beyond = _within_budget(destination, made.records, ledger, f"{started_at:%Y-%m-%d}")
    done = deliver(destination, within, ledger, notify)
    done.not_tried += beyond
    ledger.note(sync.name, "begun", ledger.noted(sync.name, "begun") or started_at.isoformat(" "))
    is_settled = not (done.failed or done.not_tried or made.refused or made.deferred)
    ledger.note(sync.name, "settled", _settlement(made, settles) if is_settled else None)
    report = _report(destination, made, done, planned=len(made.records))
    if beyond and not report.error:
        notify(f"sync {sync.name}: {beyond} records wait for tomorrow's budget of {sync.budget} operations")
    if made.records:
        ledger.log(_logged(sync, made, report, done, started_at.isoformat(" ")))
    return report


def _check_place(kind: type[Destination], sync: Sync, ledger: SyncLedger, *, force: bool, dry: bool) -> None:
    """What was acknowledged says nothing of another place.

    Raises:
        UsageError: the declaration names another place than the one that has the records.

    """
    options = kind.options_type.model_validate(sync.options).model_dump(exclude=set(kind.options_type.tuning))
    facts = [sync.destination, kind.object_of(sync)[0], sync.identifier_field, options]
    place = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
    if ledger.noted(sync.name, "place") not in (None, place) and (known := len(ledger.sent(sync.name))):
        said = f"{sync.where}: {known} records were delivered to another place than it names now"
        if ledger.forgotten(sync.name):
            raise UsageError(
                f"{said}, which still has to delete somebody who was forgotten.",
                "Put destination, object, identifier_field and options back, and sync once before they change.",
            )
        if dry or not force:
            raise UsageError(
                f"{said}. They would stay there, no longer kept.",
                "Give the new place a sync of its own name; or --force begins anew, as if nothing had been sent.",
            )
        ledger.start_over(sync.name)
    if not dry:
        ledger.note(sync.name, "place", place)


def _only_begins(sync: Sync, made: Plan, ledger: SyncLedger) -> bool:
    """Whether what is published now counts as sent."""
    return sync.first == "from_now_on" and ledger.noted(sync.name, "begun") is None and not made.known


def _breaks(destination: Destination, made: Plan) -> str:
    """Why the breaker refuses the plan; empty when it does not."""
    breaker = destination.sync.breaker or (0.5 if destination.is_remote(destination.sync) else 1.0)
    if made.changed_share <= breaker:
        return ""
    share = f"{made.changed_share:.0%} of {made.known} known records"
    return f"the run would change {share}, and its breaker is {breaker:.0%}."


def _dry(destination: Destination, made: Plan, ledger: SyncLedger, why_dry: str) -> SyncReport:
    sync = destination.sync
    begins = (
        "the first run sends nothing: what is published counts as sent." if _only_begins(sync, made, ledger) else ""
    )
    return SyncReport(
        sync.name,
        sync.destination,
        dry_run=True,
        why_dry=why_dry,
        refusal=begins or _breaks(destination, made),
        planned=len(made.records),
        waiting=made.refused,
        skipped=dict(made.skipped),
        held=made.audience.held,
        operations=destination.operations(made.records),
        samples=tuple(destination.preview(made.records[:SAMPLES])),
    )


def _report(destination: Destination, made: Plan, done: Delivery, *, planned: int) -> SyncReport:
    return SyncReport(
        sync=destination.sync.name,
        destination=destination.sync.destination,
        planned=planned,
        delivered=done.delivered,
        failed=done.failed,
        not_tried=done.not_tried,
        waiting=made.refused,
        skipped=dict(made.skipped),
        held=made.audience.held,
        operations=done.operations,
        retries=done.retries,
        waited_seconds=round(destination.pace.waited_seconds, 3),
        error=done.error,
    )


def _logged(sync: Sync, made: Plan, report: SyncReport, done: Delivery, started_at: str) -> Run:
    cuts = quantiles(done.latencies_ms, n=20, method="inclusive") if len(done.latencies_ms) > 1 else []
    only = done.latencies_ms[0] if len(done.latencies_ms) == 1 else None
    return Run(
        sync=sync.name,
        started_at=started_at,
        ended_at=utc_now().isoformat(" "),
        build_id=made.audience.build_id,
        dry_run=False,
        planned=report.planned,
        delivered=report.delivered,
        failed=report.failed,
        skipped=sum(report.skipped.values()),
        not_tried=report.not_tried,
        operations=report.operations,
        retries=report.retries,
        waited_seconds=report.waited_seconds,
        latency_p50_ms=cuts[9] if cuts else only,
        latency_p95_ms=cuts[18] if cuts else only,
        error=report.error,
    )


def _within_budget(
    destination: Destination, records: Sequence[Record], ledger: SyncLedger, day: str
) -> tuple[Sequence[Record], int]:
    """The first records that today's budget has room for, and how many it has not."""
    budget = destination.sync.budget
    if budget is None or destination.operations(records) + ledger.operations_on(destination.sync.name, day) <= budget:
        return records, 0
    left = budget - ledger.operations_on(destination.sync.name, day)
    room, low, high = 0, 0, len(records)
    while low <= high:
        middle = (low + high) // 2
        if destination.operations(records[:middle]) <= left:
            room, low = middle, middle + 1
        else:
            high = middle - 1
    return records[:room], len(records) - room


def _settlement(made: Plan, settles: Sequence[str]) -> str | None:
    if not settles:
        return None
    return json.dumps({"seen": list(settles), "skipped": made.skipped, "held": made.audience.held})


def _settled(home: Home, catalog: Catalog, sync: Sync, ledger: SyncLedger, seen: str) -> dict[str, Any]:
    """What is known of the last run, when all was delivered and nothing of it can have changed since."""
    settled: dict[str, Any] = json.loads(ledger.noted(sync.name, "settled") or "{}")
    if not settled or ledger.is_unsure(sync.name):
        return {}
    if settled["seen"][0] != seen:
        if settled["seen"][1:] != [content_hash(home, catalog, sync)]:
            return {}
        settled["seen"][0] = seen
        ledger.note(sync.name, "settled", json.dumps(settled))
    return settled


def _seen(home: Home, catalog: Catalog, sync: Sync) -> str:
    """Hash of all that the plan is made of but the ledger: snapshot, persons and declaration."""
    folder = (home.serving / "current").resolve()
    files = [folder / "traithouse.duckdb", home.root / "people.parquet"]
    facts = [(str(path), (stat := path.stat()).st_mtime_ns, stat.st_size) for path in files if path.exists()]
    text = json.dumps([facts, sync.model_dump(mode="json"), declaration_hash(catalog, sync)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _paused(ledger: SyncLedger, sync: Sync) -> str:
    if sync.paused:
        return "paused in its declaration"
    for name, what in ((EVERY_SYNC, "every sync is paused"), (sync.name, "paused")):
        why = ledger.noted(name, "paused")
        if why is not None:
            return f"{what}: {why}"
    return ""


def pause(home: Home, catalog: Catalog, name: str, why: str | None) -> None:
    """Pauses a sync, or all of them (``*``), in this environment; without a reason it goes on.

    Raises:
        UsageError: there is no such sync.

    """
    if name != EVERY_SYNC:
        catalog.sync(name)
    with SyncLedger(home) as ledger:
        ledger.note(name, "paused", why)


def destination_of(sync: Sync) -> type[Destination]:
    """The class that a sync names, its options and object checked.

    Raises:
        UsageError: there is no such destination, option or object.

    """
    where = sync.where
    kinds = destinations()
    if sync.destination not in kinds:
        raise UsageError(
            f"{where}: there is no destination {sync.destination}.",
            f"There are: {', '.join(sorted(kinds))}.",
        )
    kind = kinds[sync.destination]
    try:
        kind.options_type.model_validate(sync.options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(kind.options_type.model_fields)
        raise UsageError(f"{where}: options.{key}: {first['msg']}.", f"Options are: {known}.") from None
    kind.object_of(sync)
    return kind


def checked_destination(catalog: Catalog, sync: Sync) -> type[Destination]:
    """The class that a sync names, which can hold each trait that the sync sends.

    Raises:
        UsageError: as ``destination_of``, or a field cannot be there under its name or with its type.

    """
    kind = destination_of(sync)
    name, what = kind.object_of(sync)
    for trait in catalog.traits_of(sync):
        target, where = sync.target(trait), f"{sync.where}: fields.{trait.name}"
        if target.cast not in what.types:
            raise UsageError(
                f"{where}: {sync.destination} {name} hold no {target.cast}.",
                f"Give a cast: {', '.join(sorted(what.types))}.",
            )
        if not re.fullmatch(what.field_pattern, target.field):
            raise UsageError(
                f"{where}: {target.field!r} is no name of a field there.", f"It matches {what.field_pattern}."
            )
    return kind


@contextmanager
def one_sync_at_a_time(home: Home) -> Iterator[None]:
    """Holds the right to deliver from a home.

    Raises:
        WarehouseBusyError: another process is syncing.

    """
    home.prepare()
    path: Path = home.root / "sync.lock"
    try:
        with FileLock(path, timeout=home.settings.lock_wait_seconds):
            yield
    except Timeout:
        raise WarehouseBusyError(
            "Another process is syncing from this home.",
            "Wait until it has ended, then sync again.",
        ) from None


def why_not(home: Home, catalog: Catalog, sync: Sync, entity_id: str) -> str:
    """Of one entity: when it went, or why it did not.

    Raises:
        UsageError: nothing is published yet, or the declaration cannot be used.

    """
    with SyncLedger(home) as ledger:
        made = plan(home, catalog, sync, ledger)
        letters = {row[2]: row for row in ledger.failure_rows() if row[0] == sync.name}
        sent = {one.entity_id: (identifier, one) for identifier, one in ledger.sent(sync.name).items()}
    planned = {record.entity_id: record for record in made.records}
    if entity_id in letters:
        _, _, _, build_id, reason, failed_at, kind, tries, _ = letters[entity_id]
        return f"{kind} in build {build_id} at {failed_at} UTC, tries: {tries}: {reason}"
    if entity_id in planned:
        return f"waits for the next run ({planned[entity_id].action})"
    if entity_id in made.audience.skipped:
        return f"is not sent: {made.audience.skipped[entity_id]}"
    if entity_id in sent:
        identifier, one = sent[entity_id]
        return f"was acknowledged as {identifier} with build {one.build_id}: {one.fields}"
    return "has no value of its traits"
