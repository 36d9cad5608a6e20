"""Plan, deliver, acknowledge: runs one sync against the snapshot that is served now.

A change is delivered at least once and in order for each record. A record counts as sent only once it was acknowledged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from orchestration.damage import file_trouble
from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.destinations import Destination, Record
from orchestration.errors import UsageError, WarehouseBusyError
from orchestration.home import Home, Notify, silent, utc_now
from orchestration.sync.audience import audience_hash
from orchestration.sync.canary import canary_plan, read_back
from orchestration.sync.copied_home import note_folder, refuse_copied_home
from orchestration.sync.deliver import Delivery, deliver
from orchestration.sync.ledger import EVERY_SYNC, SyncLedger
from orchestration.sync.plan import Plan, plan
from orchestration.sync.report import SAMPLES, SyncReport, delivery_report, dry_report, logged_run
from orchestration.sync.up_to_date import Basis, UpToDate, fingerprint, note_up_to_date, up_to_date
from orchestration.sync.validate import checked_destination

if TYPE_CHECKING:
    from collections.abc import Iterator

LAST_DELIVERY = "last_delivery"


def run_sync(
    home: Home,
    catalog: Catalog,
    sync: Sync,
    *,
    dry_run: bool = False,
    force: bool = False,
    retry_refused: bool = False,
    canary: int = 0,
    notify: Notify = silent,
) -> SyncReport:
    """Runs one sync.

    Args:
        home: whose snapshot.
        catalog: what is declared.
        sync: which.
        dry_run: send nothing.
        force: send also what the breaker refuses.
        retry_refused: send again what was refused and has not changed.
        canary: deliver at most so many records and read them back; 0 delivers all.
        notify: progress.

    Raises:
        UsageError: nothing is published yet, the declaration cannot be used, or the breaker refuses the plan.
        WarehouseBusyError: another process is syncing.

    """
    destination_type = checked_destination(catalog, sync)
    why_dry = "" if dry_run else why_dry_run(home, destination_type, sync)
    dry = dry_run or bool(why_dry)
    with one_sync_at_a_time(home), SyncLedger(home) as ledger:
        paused = _paused(ledger, sync)
        if paused and not dry:
            return SyncReport(sync.name, sync.destination, paused=paused)
        waits_until = "" if dry or canary else _waits_until(ledger, sync)
        if waits_until:
            return SyncReport(sync.name, sync.destination, waits_until=waits_until)
        if destination_type.is_remote(sync) and not dry:
            refuse_copied_home(home, ledger, sync.where)
        before = fingerprint(home, catalog, sync)
        if not retry_refused and (found := up_to_date(home, catalog, sync, ledger, before)):
            notify(f"sync {sync.name}: nothing has changed since the last delivery")
            return SyncReport(sync.name, sync.destination, dry, why_dry, skipped=found.skipped, held=found.held)
        _check_place(destination_type, sync, ledger, force=force, dry=dry)
        hashed = audience_hash(home, catalog, sync)
        planned = plan(home, catalog, sync, ledger, retry_refused=retry_refused)
        left = len(planned.records)
        if canary:
            planned = canary_plan(planned, canary)
        left -= len(planned.records)
        # If a build was published meanwhile, nobody knows which of the two is in the plan.
        basis = Basis(before, hashed) if not left and fingerprint(home, catalog, sync) == before else None
        notify(f"sync {sync.name}: {len(planned.records)} records to deliver")
        with closing(destination_type(sync, home.outbox)) as destination:
            if dry:
                refusal = (
                    "the first run sends nothing: what is published counts as sent."
                    if _only_marks_baseline(destination, planned, ledger)
                    else _breaker_refusal(destination, planned)
                )
                return dry_report(destination, planned, why_dry=why_dry, refusal=refusal, samples=canary or SAMPLES)
            report = _run(destination, planned, ledger, basis, force=force, notify=notify)
            return _with_canary(report, destination, planned.records, ledger, left) if canary else report


def why_dry_run(home: Home, destination_type: type[Destination], sync: Sync) -> str:
    """Why a run would be a dry run in this environment; empty when it would not."""
    if destination_type.is_remote(sync) and not home.settings.is_production:
        return f"TRAITHOUSE_ENV is {home.settings.env}; remote destinations are served in production only"
    return ""


def _run(
    destination: Destination, planned: Plan, ledger: SyncLedger, basis: Basis | None, *, force: bool, notify: Notify
) -> SyncReport:
    sync = destination.sync
    found = UpToDate(dict(planned.skipped), planned.audience.held)
    ledger.update_sources(sync.name, planned.sources)
    ledger.drop_dead_letters(sync.name, planned.settled)
    if _only_marks_baseline(destination, planned, ledger):
        ledger.mark_as_baseline(planned.records)
        ledger.note(sync.name, "begun", utc_now().isoformat(" "))
        note_up_to_date(ledger, sync, found, basis)
        notify(f"sync {sync.name}: starts now; {len(planned.records)} records count as sent")
        return delivery_report(destination, planned, Delivery(), count=0)
    if not force and (refusal := _breaker_refusal(destination, planned)):
        raise UsageError(
            f"{sync.where}: {refusal}",
            "See what would be sent with traithouse sync --dry-run; send it with traithouse sync --force.",
        )
    started_at = utc_now()
    split = _within_budget(destination, planned.records, ledger, f"{started_at:%Y-%m-%d}")
    delivery = deliver(destination, split.within, ledger, notify)
    delivery.not_tried += split.beyond
    ledger.note(sync.name, "begun", ledger.noted(sync.name, "begun") or started_at.isoformat(" "))
    if split.within:
        ledger.note(sync.name, LAST_DELIVERY, started_at.isoformat(" "))
    has_left = delivery.failed or delivery.not_tried or planned.refused or planned.deferred
    note_up_to_date(ledger, sync, found, None if has_left else basis)
    report = delivery_report(destination, planned, delivery, count=len(planned.records))
    if split.beyond and not report.error:
        notify(f"sync {sync.name}: {split.beyond} records wait for tomorrow's budget of {sync.budget} operations")
    if planned.records:
        ledger.log(logged_run(sync, planned.audience.build_id, report, delivery, started_at.isoformat(" ")))
    return report


def _with_canary(
    report: SyncReport, destination: Destination, records: Sequence[Record], ledger: SyncLedger, left: int
) -> SyncReport:
    """The report with what was read back of the records; what they leave waits for the next run."""
    sent = ledger.sent(destination.sync.name)
    read = read_back(destination, records, lambda r: r.identifier in sent and sent[r.identifier].source == r.source)
    bad = sum(not record.is_good for record in read)
    error = report.error or (f"{bad} of {len(read)} records are not there as they were sent" if bad else "")
    return replace(report, canary=read, not_tried=report.not_tried + left, error=error)


def _waits_until(ledger: SyncLedger, sync: Sync) -> str:
    """Until when the sync waits, because it has delivered a short while ago; empty when it does not wait."""
    last = ledger.noted(sync.name, LAST_DELIVERY)
    if sync.at_most_every is None or last is None or ledger.forgotten(sync.name):
        return ""
    now, delivered_at = utc_now(), datetime.fromisoformat(last)
    until = delivered_at + sync.at_most_every
    return f"{until:%Y-%m-%d %H:%M:%S} UTC" if delivered_at <= now < until else ""


def _check_place(
    destination_type: type[Destination], sync: Sync, ledger: SyncLedger, *, force: bool, dry: bool
) -> None:
    """Checks that the sync names the place that has its records: what was acknowledged says nothing of another.

    Raises:
        UsageError: it names another place.

    """
    options_type = destination_type.options_type
    options = options_type.model_validate(sync.options).model_dump(exclude=set(options_type.tuning))
    facts = [sync.destination, destination_type.object_of(sync).name, sync.identifier_field, options]
    place = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
    if ledger.noted(sync.name, "place") not in (None, place) and (known := len(ledger.sent(sync.name))):
        message = f"{sync.where}: {known} records were delivered to another place than it names now"
        if ledger.forgotten(sync.name):
            raise UsageError(
                f"{message}, and that place still has to delete somebody who was forgotten.",
                "Put destination, object, identifier_field and options back, and sync once before they change.",
            )
        if dry or not force:
            raise UsageError(
                f"{message}. They would stay there and never be updated again.",
                "Give the new place a sync of its own name; or use --force to start over, as if nothing had been sent.",
            )
        ledger.start_over(sync.name)
    if not dry:
        ledger.note(sync.name, "place", place)


def _only_marks_baseline(destination: Destination, planned: Plan, ledger: SyncLedger) -> bool:
    """Whether this is the first run of a sync that starts from now on: what is published now counts as sent."""
    sync = destination.sync
    first = sync.first or destination.first
    return first == "from_now_on" and ledger.noted(sync.name, "begun") is None and not planned.known


def _breaker_refusal(destination: Destination, planned: Plan) -> str:
    """Why the breaker refuses the plan; empty when it does not."""
    breaker = destination.sync.breaker or (0.5 if destination.is_remote(destination.sync) else 1.0)
    if planned.changed_share <= breaker:
        return ""
    share = f"{planned.changed_share:.0%} of {planned.known} known records"
    return f"the run would change {share}, and its breaker is {breaker:.0%}."


class _BudgetSplit(NamedTuple):
    """Records that today's budget has room for, and how many records are beyond it."""

    within: Sequence[Record]
    beyond: int


def _within_budget(destination: Destination, records: Sequence[Record], ledger: SyncLedger, day: str) -> _BudgetSplit:
    """The first records that the budget of a UTC day has room for."""
    budget = destination.sync.budget
    if budget is None:
        return _BudgetSplit(records, 0)
    left = budget - ledger.operations_on(destination.sync.name, day)
    if destination.operations(records) <= left:
        return _BudgetSplit(records, 0)
    room, low, high = 0, 0, len(records)
    while low <= high:
        middle = (low + high) // 2
        if destination.operations(records[:middle]) <= left:
            room, low = middle, middle + 1
        else:
            high = middle - 1
    return _BudgetSplit(records[:room], len(records) - room)


def _paused(ledger: SyncLedger, sync: Sync) -> str:
    """Why the sync is paused; empty when it is not."""
    if sync.paused:
        return "paused in its declaration"
    for name, what in ((EVERY_SYNC, "every sync is paused"), (sync.name, "paused")):
        reason = ledger.noted(name, "paused")
        if reason is not None:
            return f"{what}: {reason}"
    return ""


def pause(home: Home, catalog: Catalog, name: str, reason: str | None) -> None:
    """Pauses a sync, or all of them (``*``), in this environment; without a reason it is resumed.

    Raises:
        UsageError: there is no such sync.

    """
    if name != EVERY_SYNC:
        catalog.sync(name)
    with SyncLedger(home) as ledger:
        ledger.note(name, "paused", reason)


def take_over(home: Home) -> None:
    """Lets a home that is a copy deliver in this environment from now on.

    Raises:
        WarehouseBusyError: another process is syncing.

    """
    with one_sync_at_a_time(home), SyncLedger(home) as ledger:
        note_folder(home, ledger)


@contextmanager
def one_sync_at_a_time(home: Home) -> Iterator[None]:
    """Holds the right to deliver from a home.

    Raises:
        WarehouseBusyError: another process is syncing.

    """
    home.prepare()
    lock = FileLock(home.root / "sync.lock")
    try:
        lock.acquire(timeout=home.settings.lock_wait_seconds)
    except Timeout:
        raise WarehouseBusyError(
            "Another process is syncing from this home.",
            "Wait until it has ended, then sync again.",
        ) from None
    except OSError as error:
        raise file_trouble(error, home.root) from None
    try:
        yield
    finally:
        lock.release()
