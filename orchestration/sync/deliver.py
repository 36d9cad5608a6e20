"""Delivers batches, several at once: in doubt before they are sent, settled after, and bisected when refused."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestration.destinations import (
    ClosedError,
    Destination,
    Failure,
    LimitedError,
    Record,
    RefusedError,
    UnavailableError,
)
from orchestration.destinations._pace import PATIENCE_SECONDS
from orchestration.home import Notify
from orchestration.sync.guarded import UnreadableError, guarded_deliver, not_finite
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.ledger_schema import DeliveryResult

if TYPE_CHECKING:
    from collections.abc import Iterator

# After so many calls in a row without an answer, nothing more is sent before the next run.
TRIES = 5
# The same after so many answers in a row that ask for a pause.
LIMITED_TRIES = 9
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 30.0
# So many batches refused as a whole, and nothing taken before: the mapping is wrong, not the rows.
NOTHING_GETS_THROUGH = 3


@dataclass
class Delivery:
    """How a run has gone so far.

    Attributes:
        delivered: records acknowledged.
        failed: records refused, or not answered in the end.
        not_tried: records that were never sent.
        retries: batches that were sent again, as a whole or in part.
        operations: what the vendor bills or counts, of what was acknowledged.
        latencies_ms: of each batch, from sending to its end, in milliseconds.
        reasons: of the failures.
        closed: why nothing more can be delivered before a person acts; empty while it can.

    """

    delivered: int = 0
    failed: int = 0
    not_tried: int = 0
    retries: int = 0
    operations: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    closed: str = ""
    _refused_in_a_row: int = 0

    def count(self, destination: Destination, results: Sequence[DeliveryResult]) -> None:
        """Adds the results of a batch."""
        acknowledged = [result.record for result in results if result.failure is None]
        failures = [result.failure for result in results if result.failure]
        self.operations += destination.operations(acknowledged)
        self.delivered += len(acknowledged)
        self.failed += len(failures)
        self.reasons += [failure.reason for failure in failures]
        refused = sum(not failure.again for failure in failures)
        self._refused_in_a_row = self._refused_in_a_row + 1 if refused == len(results) else 0
        if not self.delivered and self._refused_in_a_row == NOTHING_GETS_THROUGH:
            self.closed = self.closed or f"nothing gets through: {self.error}"

    @property
    def error(self) -> str:
        """The most frequent reason of failure."""
        return self.closed or (max(sorted(set(self.reasons)), key=self.reasons.count) if self.reasons else "")


@dataclass
class _Attempted:
    """What came of a batch.

    Attributes:
        outcomes: identifier -> why it failed, or nothing.
        unanswered: identifiers that were sent at least once without an answer, whatever came later.
        retries: how often a part of it was sent again.
        milliseconds: from sending to its end.
        down: nobody answers; nothing more is sent in this run.
        closed: why nothing more can be delivered before a person acts; empty while it can.

    """

    outcomes: dict[str, Failure | None] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    retries: int = 0
    milliseconds: float = 0.0
    down: bool = False
    closed: str = ""


def batches(destination: Destination, records: Sequence[Record]) -> Iterator[list[Record]]:
    """Records in order, as many in a batch as the destination takes.

    No batch has both removals and upserts, unless the destination mixes them.
    """
    batch: list[Record] = []
    size, most = 0, destination.batch_of(len(records))
    for record in records:
        record_size = destination.size(record)
        full = len(batch) >= most or size + record_size > destination.batch_bytes
        other_kind = bool(batch) and not destination.mixes and _is_removal(record) is not _is_removal(batch[-1])
        if batch and (full or other_kind):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record_size
    if batch:
        yield batch


def _is_removal(record: Record) -> bool:
    """Whether the record is cleared or deleted."""
    return record.action != "upsert"


def deliver(
    destination: Destination,
    records: Sequence[Record],
    ledger: SyncLedger,
    notify: Notify,
    *,
    sleep: Callable[[float], None] | None = None,
) -> Delivery:
    """Delivers records; each identifier is in at most one of them.

    Batches of one kind are sent at the same time, but upserts begin only when every removal has ended: the destination
    may know two identifiers as the same record.
    Only this thread writes the ledger; workers only call the destination.
    """
    delivery, name = Delivery(), destination.sync.name
    ledger.begin_run(name)
    queue = deque(batches(destination, records))
    down = False
    running: dict[Future[_Attempted], list[Record]] = {}
    ended: set[Future[_Attempted]] = set()
    with ThreadPoolExecutor(destination.workers, thread_name_prefix=name) as pool:
        try:
            while True:
                results: list[DeliveryResult] = []
                unanswered: list[str] = []
                used = delivery.operations
                broken = [future for future in ended if future.exception()]
                for future in ended - set(broken):
                    attempted, batch = future.result(), running.pop(future)
                    batch_results = [DeliveryResult(record, attempted.outcomes[record.identifier]) for record in batch]
                    delivery.retries += attempted.retries
                    delivery.latencies_ms.append(attempted.milliseconds)
                    delivery.closed = delivery.closed or attempted.closed
                    down = down or attempted.down
                    delivery.count(destination, batch_results)
                    results += batch_results
                    unanswered += sorted(attempted.unanswered)
                begun: list[list[Record]] = []
                stopped = broken or down or delivery.closed
                while queue and len(running) + len(begun) < destination.workers and not stopped:
                    under_way = [*running.values(), *begun]
                    if under_way and _is_removal(under_way[0][0]) is not _is_removal(queue[0][0]):
                        break
                    begun.append(queue.popleft())
                if results or begun:
                    ledger.settle(
                        results,
                        [record for batch in begun for record in batch],
                        unanswered={name: unanswered},
                        operations={name: delivery.operations - used},
                    )
                if results:
                    notify(f"sync {name}: {delivery.delivered} of {len(records)} delivered")
                for future in broken:
                    future.result()
                for batch in begun:
                    running[pool.submit(_attempt, destination, batch, sleep or destination.pace.backoff)] = batch
                if not running:
                    break
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
        except BaseException:
            # Whoever stops the run must not wait for workers that wait for a limit or a retry.
            destination.pace.stop()
            raise
    delivery.not_tried = sum(len(batch) for batch in queue)
    return delivery


def _attempt(destination: Destination, batch: Sequence[Record], sleep: Callable[[float], None]) -> _Attempted:
    """Sends one batch until each of its records is acknowledged or refused, or nobody answers any more.

    What is refused as a whole is halved until a bad record stands alone.
    """
    started = time.monotonic()
    attempted = _Attempted()
    for record in batch:
        if destination.size(record) > destination.batch_bytes:
            attempted.outcomes[record.identifier] = Failure(
                f"the record is larger than the {destination.batch_bytes} bytes that a batch may have"
            )
        elif wrong := not_finite(record):
            attempted.outcomes[record.identifier] = Failure(f"{wrong} is not a finite number")
    groups = [[record for record in batch if record.identifier not in attempted.outcomes]]
    tries, limits, patience = 0, 0, PATIENCE_SECONDS
    while groups:
        group = groups.pop()
        if not group:
            continue
        if attempted.down or attempted.closed:
            not_sent = Failure(attempted.closed or "not tried", again=True)
            attempted.outcomes |= {record.identifier: not_sent for record in group}
            continue
        destination.pace.check()
        try:
            outcomes = guarded_deliver(destination, group)
        except RefusedError as error:
            if len(group) == 1:
                attempted.outcomes[group[0].identifier] = Failure(str(error))
            else:
                middle = len(group) // 2
                groups += [group[middle:], group[:middle]]
            continue
        except ClosedError as error:
            attempted.closed = str(error)
            groups.append(group)
            continue
        except UnreadableError as error:
            # Tried again by the next run; the other batches are not held up.
            attempted.unanswered |= {record.identifier for record in group}
            attempted.outcomes |= {record.identifier: Failure(str(error), again=True) for record in group}
            continue
        except UnavailableError as error:
            limited = isinstance(error, LimitedError)
            # Even if the answer says that nothing was taken, an earlier call for the batch may have gone through.
            attempted.unanswered |= {record.identifier for record in group}
            tries += not limited
            limits += limited
            seconds = error.seconds if error.seconds is not None else _backoff(tries + attempted.retries)
            seconds = max(seconds, _shortest_wait(tries + limits))
            patience -= seconds
            if tries >= TRIES or limits >= LIMITED_TRIES or patience < 0:
                attempted.down = True
                attempted.outcomes |= {record.identifier: Failure(str(error), again=True) for record in group}
                continue
            attempted.retries += 1
            if limited:
                destination.pace.pause(seconds)
            else:
                sleep(seconds)
            groups.append(group)
            continue
        attempted.outcomes |= {record.identifier: failure for record, failure in zip(group, outcomes, strict=True)}
        again = [record for record, failure in zip(group, outcomes, strict=True) if failure and failure.again]
        attempted.unanswered |= {record.identifier for record in again}
        tries, limits = (0, 0) if len(again) < len(group) else (tries + 1, limits)
        if again and tries < TRIES:
            attempted.retries += 1
            sleep(_backoff(tries))
            groups.append(again)
    attempted.milliseconds = round((time.monotonic() - started) * 1000, 1)
    return attempted


def _shortest_wait(tries: int) -> float:
    """Seconds to wait at least, even if the answer asks for less; twice as long each time."""
    return min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS / 10 * 2.0 ** max(0, tries - 1))


def _backoff(tries: int) -> float:
    """Seconds to wait, with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015)."""
    return random.uniform(0, min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**tries))  # noqa: S311
