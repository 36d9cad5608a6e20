"""Batches on their way: several at once, each in doubt before it is sent and settled after, refused ones bisected."""

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
from orchestration.sync.ledger import SyncLedger

if TYPE_CHECKING:
    from collections.abc import Iterator

# A destination that does not answer so many times in a row is left alone until the next run.
TRIES = 5
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 30.0
# So many whole batches refused, and none taken before: the mapping is wrong, not the rows.
NOTHING_GETS_THROUGH = 3


@dataclass
class Delivery:
    """How a run went so far.

    Attributes:
        delivered: records acknowledged.
        failed: records refused, or not answered at last.
        not_tried: records that were never sent.
        retries: batches that were sent again, also in part.
        operations: what the vendor bills or counts, of what was sent.
        latencies_ms: of each batch, from sending to its end.
        reasons: of the failures.
        closed: why nothing more can be delivered before a person acts.

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

    def count(self, destination: Destination, results: Sequence[tuple[Record, Failure | None]]) -> None:
        """Adds how a batch went."""
        went = [record for record, failure in results if failure is None]
        failures = [failure for _, failure in results if failure]
        self.operations += destination.operations(went)
        self.delivered += len(went)
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
    """A batch that came back.

    Attributes:
        outcomes: identifier -> why it failed, or nothing.
        unanswered: identifiers that were sent at least once without an answer, whatever came later.
        down: nobody answers; leave the destination alone.

    """

    outcomes: dict[str, Failure | None] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    retries: int = 0
    milliseconds: float = 0.0
    down: bool = False
    closed: str = ""


def batches(destination: Destination, records: Sequence[Record]) -> Iterator[list[Record]]:
    """Records in order, as many in a batch as the destination takes; what lets go of a record never beside others."""
    batch: list[Record] = []
    size, most = 0, destination.batch_of(len(records))
    for record in records:
        grown = destination.size(record)
        full = len(batch) >= most or size + grown > destination.batch_bytes
        if batch and (full or _lets_go(record) is not _lets_go(batch[-1])):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += grown
    if batch:
        yield batch


def _lets_go(record: Record) -> bool:
    """Whether it clears or deletes."""
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

    Neighbours of one kind are under way at once, but nothing is written before all that is let go of has ended: the
    destination may know both as one.
    Only this thread writes the ledger; workers only call the destination.
    """
    done, name = Delivery(), destination.sync.name
    ledger.begin_run(name)
    queue = deque(batches(destination, records))
    down = False
    running: dict[Future[_Attempted], list[Record]] = {}
    ended: set[Future[_Attempted]] = set()
    with ThreadPoolExecutor(destination.workers, thread_name_prefix=name) as pool:
        try:
            while True:
                back = [(running.pop(future), future.result()) for future in ended if future.exception() is None]
                results = [
                    [(record, attempted.outcomes[record.identifier]) for record in batch] for batch, attempted in back
                ]
                used = done.operations
                for (_, attempted), result in zip(back, results, strict=True):
                    done.retries += attempted.retries
                    done.latencies_ms.append(attempted.milliseconds)
                    done.closed = done.closed or attempted.closed
                    down = down or attempted.down
                    done.count(destination, result)
                broken = [future for future in ended if future.exception()]
                begun: list[list[Record]] = []
                while queue and len(running) + len(begun) < destination.workers and not (broken or down or done.closed):
                    under_way = [*running.values(), *begun]
                    if under_way and _lets_go(under_way[0][0]) is not _lets_go(queue[0][0]):
                        break
                    begun.append(queue.popleft())
                if results or begun:
                    ledger.settle(
                        [one for result in results for one in result],
                        [record for batch in begun for record in batch],
                        unanswered=[(name, one) for _, attempted in back for one in sorted(attempted.unanswered)],
                        operations={name: done.operations - used},
                    )
                if results:
                    notify(f"sync {name}: {done.delivered} of {len(records)} delivered")
                for future in broken:
                    future.result()
                for batch in begun:
                    running[pool.submit(_attempt, destination, batch, sleep or destination.pace.backoff)] = batch
                if not running:
                    break
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
        except BaseException:
            # Workers that wait for a limit or a retry must not hold a person who wants to stop.
            destination.pace.stop()
            raise
    done.not_tried = sum(len(batch) for batch in queue)
    return done


def _attempt(destination: Destination, batch: Sequence[Record], sleep: Callable[[float], None]) -> _Attempted:
    """One batch until each of its records is acknowledged or refused, or nobody answers any more.

    What is refused as a whole is halved until a bad record stands alone.
    """
    begun = time.monotonic()
    done = _Attempted()
    for record in batch:
        if destination.size(record) > destination.batch_bytes:
            done.outcomes[record.identifier] = Failure(f"it is larger than {destination.batch_bytes} bytes")
    groups = [[record for record in batch if record.identifier not in done.outcomes]]
    tries, patience = 0, PATIENCE_SECONDS
    while groups:
        group = groups.pop()
        if not group:
            continue
        if done.down or done.closed:
            done.outcomes |= {one.identifier: Failure(done.closed or "not tried", again=True) for one in group}
            continue
        destination.pace.check()
        try:
            results = destination.deliver(group)
        except RefusedError as error:
            if len(group) == 1:
                done.outcomes[group[0].identifier] = Failure(str(error))
            else:
                middle = len(group) // 2
                groups += [group[middle:], group[:middle]]
            continue
        except ClosedError as error:
            done.closed = str(error)
            groups.append(group)
            continue
        except UnavailableError as error:
            limited = isinstance(error, LimitedError)
            # Also where it says that it took nothing, an earlier call for the batch may have gone through.
            done.unanswered |= {one.identifier for one in group}
            tries += not limited
            seconds = error.seconds if error.seconds is not None else _backoff(tries + done.retries)
            patience -= seconds
            if tries >= TRIES or patience < 0:
                done.down = True
                done.outcomes |= {one.identifier: Failure(str(error), again=True) for one in group}
                continue
            done.retries += 1
            if limited:
                destination.pace.pause(seconds)
            else:
                sleep(seconds)
            groups.append(group)
            continue
        done.outcomes |= {one.identifier: result for one, result in zip(group, results, strict=True)}
        again = [one for one, result in zip(group, results, strict=True) if result and result.again]
        done.unanswered |= {one.identifier for one in again}
        tries = 0 if len(again) < len(group) else tries + 1
        if again and tries < TRIES:
            done.retries += 1
            sleep(_backoff(tries))
            groups.append(again)
    done.milliseconds = round((time.monotonic() - begun) * 1000, 1)
    return done


def _backoff(tries: int) -> float:
    """Seconds with full jitter ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015)."""
    return random.uniform(0, min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2**tries))  # noqa: S311
