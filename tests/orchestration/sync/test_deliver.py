"""Batches on their way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from orchestration.declarations.syncs import Sync
from orchestration.destinations import Failure, LimitedError, Outcomes, Record, RefusedError, UnavailableError
from orchestration.home import Home, silent
from orchestration.sync import deliver as engine
from orchestration.sync.deliver import Delivery, batches, deliver
from orchestration.sync.ledger import SyncLedger
from tests.orchestration.sync.test_properties import Board, World, installed
from tests.orchestration.sync.test_sync_ledger import RECORD

SYNC = Sync.model_validate({"name": "crm", "description": "A test.", "destination": "board", "traits": "all"})


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with installed(made):
        yield made


def records(count: int) -> list[Record]:
    return [replace(RECORD, entity_id=f"u{number}", identifier=f"u{number}") for number in range(count)]


def delivered(home: Home, kind: type[Board], count: int = 1) -> tuple[Delivery, set[str]]:
    with SyncLedger(home) as ledger:
        done = deliver(kind(SYNC, home.outbox), records(count), ledger, silent)
        return done, set(ledger.in_doubt("crm"))


def test_batches_hold_what_the_destination_takes(home: Home) -> None:
    class Small(Board):
        batch_bytes = 2 * (len('{"paying": true}') + 2)

    sizes = [len(batch) for batch in batches(Small(SYNC, home.outbox), records(5))]
    assert sizes == [2, 2, 1]
    assert [len(batch) for batch in batches(Board(SYNC, home.outbox), records(7))] == [3, 3, 1]


def test_a_refusal_after_a_lost_answer_leaves_the_record_in_doubt(home: Home, world: World) -> None:
    class Fickle(Board):
        def deliver(self, records: Sequence[Record]) -> Outcomes:
            world.take(records[0])
            if len(world.ids) == 1 and not world.poisoned:
                world.poisoned.add("lost once")
                raise UnavailableError("no answer")
            raise RefusedError("no")

    done, doubt = delivered(home, Fickle)
    assert (done.failed, doubt) == (1, {"u0"})
    assert world.state() == {"u0": {"paying": True}}


def test_a_batch_that_breaks_off_stays_in_doubt_and_holds_up_no_other(home: Home, world: World) -> None:
    barrier = threading.Barrier(2)

    class Broken(Board):
        def deliver(self, records: Sequence[Record]) -> Outcomes:
            barrier.wait()
            if records[0].identifier == "u0":
                # The other one is back by then, most likely in the same breath.
                time.sleep(0.05)
                raise KeyError("whatever the answer held")
            return [None] * len(records)

    with SyncLedger(home) as ledger:
        done = deliver(Broken(SYNC, home.outbox), records(6), ledger, silent)
        assert (done.delivered, done.failed, done.not_tried) == (3, 3, 0)
        assert done.error == "the answer could not be read: KeyError"
        assert set(ledger.sent("crm")) == {"u3", "u4", "u5"}
        assert set(ledger.in_doubt("crm")) == {"u0", "u1", "u2"}


def test_who_stops_a_run_does_not_wait_for_a_pause(home: Home, world: World) -> None:
    class Limited(Board):
        def deliver(self, records: Sequence[Record]) -> Outcomes:
            if records[0].identifier == "u0":
                raise KeyboardInterrupt
            self.pace.take()
            raise LimitedError("later", 500)

    begun = time.monotonic()
    with SyncLedger(home) as ledger, pytest.raises(KeyboardInterrupt):
        deliver(Limited(SYNC, home.outbox), records(6), ledger, silent)
    assert time.monotonic() - begun < 5


def test_pauses_end_with_patience(home: Home, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PATIENCE_SECONDS", 0.02)

    class Slow(Board):
        def deliver(self, records: Sequence[Record]) -> Outcomes:
            self.pace.take()
            raise LimitedError("slowly", 0.004)

    done, doubt = delivered(home, Slow)
    assert (done.delivered, done.failed, doubt) == (0, 1, {"u0"})
    assert done.retries < engine.LIMITED_TRIES - 1


@pytest.mark.parametrize("seconds", [0.0, -5.0, float("nan"), float("inf"), None])
def test_pauses_that_are_none_get_longer_and_end(
    home: Home, world: World, monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    monkeypatch.setattr(engine, "FIRST_BACKOFF_SECONDS", 0.01)
    asked_at: list[float] = []

    class Greedy(Board):
        def deliver(self, records: Sequence[Record]) -> Outcomes:
            self.pace.take()
            asked_at.append(time.monotonic())
            raise LimitedError("at once", seconds)

    done, doubt = delivered(home, Greedy)
    assert (done.delivered, done.failed, doubt) == (0, 1, {"u0"})
    assert len(asked_at) == engine.LIMITED_TRIES
    waits = [later - earlier for earlier, later in pairwise(asked_at)]
    assert all(wait >= 0.001 * 2**number for number, wait in enumerate(waits))


def test_a_destination_that_asks_for_a_pause_now_and_then_gets_as_many_as_it_needs(home: Home, world: World) -> None:
    calls: list[str] = []

    class Fickle(Board):
        batch_size = 40

        def deliver(self, records: Sequence[Record]) -> Outcomes:
            calls.append(records[0].identifier)
            if len(calls) % 2:
                raise LimitedError("a moment", 0.0)
            return [None, *(Failure("later", again=True) for _ in records[1:])]

    done, _ = delivered(home, Fickle, 12)
    assert (done.delivered, len(calls)) == (12, 24)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_not_finite_is_never_sent(home: Home, world: World, value: float) -> None:
    with SyncLedger(home) as ledger:
        given = [replace(records(1)[0], fields={"paying": value}), records(2)[1]]
        done = deliver(Board(SYNC, home.outbox), given, ledger, silent)
    assert (done.delivered, done.failed, done.error) == (1, 1, "paying is not a finite number")
    assert set(world.state()) == {"u1"}


def test_outcomes_that_are_fewer_than_records_leave_all_in_doubt(home: Home, world: World) -> None:
    class Short(Board):
        def deliver(self, records: Sequence[Record]) -> Outcomes:
            return [None]

    done, doubt = delivered(home, Short, 2)
    assert (done.delivered, done.error, doubt) == (0, "1 outcomes came of 2 records", {"u0", "u1"})


def test_nothing_is_written_before_every_removal_has_ended(home: Home, world: World) -> None:
    ended: list[str] = []

    class Slow(Board):
        workers = 4

        def deliver(self, records: Sequence[Record]) -> Outcomes:
            time.sleep(0.05 if records[0].action == "clear" else 0)
            ended.extend(record.action for record in records)
            return [None] * len(records)

    given = [replace(record, action="clear") for record in records(4)] + [
        replace(record, identifier=f"{record.identifier}@x.org") for record in records(4)
    ]
    with SyncLedger(home) as ledger:
        assert deliver(Slow(SYNC, home.outbox), given, ledger, silent).delivered == 8
    assert ended == ["clear"] * 4 + ["upsert"] * 4


def test_three_batches_refused_in_full_end_the_run(home: Home, world: World) -> None:
    world.poisoned = {f"u{number}" for number in range(30)}
    done, _ = delivered(home, Board, 30)
    assert done.closed == "nothing gets through: a bad row"
    assert done.failed <= 12
    assert done.failed + done.not_tried == 30
