"""What a run of a sync reports: to its caller, and as a row of the sync log."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import quantiles
from typing import Any

from orchestration.declarations.syncs import Sync
from orchestration.destinations import Destination
from orchestration.home import utc_now
from orchestration.sync.canary import CanaryRecord
from orchestration.sync.deliver import Delivery
from orchestration.sync.ledger_schema import Run
from orchestration.sync.plan import Plan

SAMPLES = 3


@dataclass(frozen=True)
class SyncReport:
    """What one sync did.

    Attributes:
        sync: its name.
        destination: name of the destination.
        dry_run: whether nothing was sent.
        why_dry: why nothing was sent, when a dry run was not asked for.
        refusal: of a dry run, why a real run would send nothing: the breaker, or that it only marks the baseline.
        planned: records that differ from what was acknowledged.
        delivered: records acknowledged now.
        failed: records that were refused or not answered.
        not_tried: records left for the next run.
        waiting: records that were refused before and have not changed; they are not sent again until they change.
        skipped: reason -> entities that are not sent, where that is no failure.
        held: trait -> why its fields stay as they are.
        operations: what the vendor bills or counts: of a dry run an estimate, else of what was acknowledged.
        retries: batches that were sent again.
        waited_seconds: how long limits and pauses held the run.
        error: the most frequent reason of failure, or why the sync could not run.
        paused: why nothing is sent, when somebody paused the sync.
        waits_until: until when nothing is sent, because the sync has delivered a short while ago.
        samples: of a dry run, what would be sent of the first records.
        canary: of a canary, what was read back of each record.

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
    waits_until: str = ""
    samples: tuple[Any, ...] = ()
    canary: tuple[CanaryRecord, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class CopiedTableReport:
    """What came of one table.

    Attributes:
        table: its name.
        written: rows that were inserted or replaced.
        deleted: rows that were deleted.
        rows: rows that it holds.
        compared: whether the whole table was compared, because nothing said which rows had changed.

    """

    table: str
    written: int
    deleted: int
    rows: int
    compared: bool


@dataclass(frozen=True)
class CopyReport:
    """What came of one copy.

    Attributes:
        copy: name of the declaration.
        build_id: build that the tables hold.
        tables: a report each; of a dry run what would be written if the tables were empty.
        dry_run: whether nothing was written.
        why_dry: why not, when a dry run was not asked for.
        error: why nothing was written; empty when it was.

    """

    copy: str
    build_id: str = ""
    tables: tuple[CopiedTableReport, ...] = ()
    dry_run: bool = False
    why_dry: str = ""
    error: str = ""

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def dry_report(
    destination: Destination, planned: Plan, *, why_dry: str, refusal: str, samples: int = SAMPLES
) -> SyncReport:
    """The report of a run that sends nothing."""
    return SyncReport(
        sync=destination.sync.name,
        destination=destination.sync.destination,
        dry_run=True,
        why_dry=why_dry,
        refusal=refusal,
        planned=len(planned.records),
        waiting=planned.refused,
        skipped=dict(planned.skipped),
        held=planned.audience.held,
        operations=destination.operations(planned.records),
        samples=tuple(destination.preview(planned.records[:samples])),
    )


def delivery_report(destination: Destination, planned: Plan, delivery: Delivery, *, count: int) -> SyncReport:
    """The report of a run that had ``count`` records to deliver."""
    return SyncReport(
        sync=destination.sync.name,
        destination=destination.sync.destination,
        planned=count,
        delivered=delivery.delivered,
        failed=delivery.failed,
        not_tried=delivery.not_tried,
        waiting=planned.refused,
        skipped=dict(planned.skipped),
        held=planned.audience.held,
        operations=delivery.operations,
        retries=delivery.retries,
        waited_seconds=round(destination.pace.waited_seconds, 3),
        error=delivery.error,
    )


def logged_run(sync: Sync, build_id: str, report: SyncReport, delivery: Delivery, started_at: str) -> Run:
    """The row of the sync log; latencies are medians and 95th percentiles of batches, in milliseconds."""
    latencies = delivery.latencies_ms
    cuts = quantiles(latencies, n=20, method="inclusive") if len(latencies) > 1 else []
    only = latencies[0] if len(latencies) == 1 else None
    return Run(
        sync=sync.name,
        started_at=started_at,
        ended_at=utc_now().isoformat(" "),
        build_id=build_id,
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
