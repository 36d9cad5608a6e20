"""Every destination that is found, under the same faults: nothing lost, nothing called sent that is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.destinations import Record, destinations
from orchestration.home import Home, Settings
from orchestration.sync.canary import UNREADABLE, read_back
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.validate import destination_of
from tests.faults.destinations import (
    ENTITIES,
    FAULTS,
    NAMES,
    acknowledged,
    deliver_under_fault,
    delivered,
    expected,
    identifier_of,
    quick_backoff,
    records_of,
    scenarios,
)
from tests.orchestration.destinations.standins import Fault, HttpStandIn, StandIn, standin


@pytest.fixture(params=NAMES)
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    made = standin(request.param)
    (tmp_path / "target").mkdir()
    with made.running(tmp_path / "target"), quick_backoff():
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(Settings(home=tmp_path / "home", env="production"))


def of_those_that(do: Callable[[StandIn], bool]) -> pytest.MarkDecorator:
    """Runs a test with the destinations of which a condition holds; the others have nothing of the kind."""
    return pytest.mark.parametrize("target", [name for name in NAMES if do(standin(name))], indirect=True)


def in_doubt(home: Home, target: StandIn) -> set[str]:
    with SyncLedger(home) as ledger:
        return set(ledger.in_doubt(target.sync().name))


def test_all_arrive_as_mapped_and_a_change_replaces_what_was_there(target: StandIn, home: Home) -> None:
    for version in (0, 1):
        records = records_of(target, version)
        done = delivered(home, target, records)
        assert (done.delivered, done.failed, done.error) == (ENTITIES, 0, "")
        assert target.state() == expected(records, target)
    assert acknowledged(home, target) == set(expected(records, target))
    assert in_doubt(home, target) == set()


@pytest.mark.parametrize(
    ("target", "fault"),
    [(name, fault) for name in NAMES for fault in FAULTS if fault in scenarios(standin(name))],
    indirect=["target"],
)
def test_a_fault_of_the_line_loses_nothing(target: StandIn, home: Home, fault: str) -> None:
    records = records_of(target)
    result = deliver_under_fault(target, home, fault, records)
    assert (result.acknowledged, result.dead, result.lost) == (ENTITIES, 0, 0)
    assert not target.faults, "the fault has not come up"
    assert target.state() == expected(records, target)


@of_those_that(lambda made: "poison" not in made.spared)
def test_one_bad_row_fails_alone_and_says_why(target: StandIn, home: Home) -> None:
    bad = identifier_of(target, 117)
    target.poisoned = {bad}
    records = records_of(target)
    done = delivered(home, target, records)
    assert (done.delivered, done.failed) == (ENTITIES - 1, 1)
    assert done.error
    assert target.state() == {
        identifier: fields for identifier, fields in expected(records, target).items() if identifier != bad
    }
    assert acknowledged(home, target) == set(expected(records, target)) - {bad}
    with SyncLedger(home) as ledger:
        (row,) = ledger.failure_rows()
    assert row["entity_id"] == "e0117"
    assert row["kind"] == "refused"


@of_those_that(lambda made: isinstance(made, HttpStandIn))
def test_a_destination_that_stays_down_is_left_alone_and_the_next_run_delivers(target: StandIn, home: Home) -> None:
    assert isinstance(target, HttpStandIn)
    target.faults.extend([Fault("answer", 503)] * 10_000)
    records = records_of(target)
    done = delivered(home, target, records)
    assert (done.delivered, done.failed + done.not_tried) == (0, ENTITIES)
    assert acknowledged(home, target) == set()
    target.faults.clear()
    assert delivered(home, target, records).delivered == ENTITIES
    assert target.state() == expected(records, target)
    with SyncLedger(home) as ledger:
        assert ledger.failure_rows() == []


@of_those_that(lambda made: isinstance(made, HttpStandIn))
def test_what_was_lost_on_the_way_back_stays_in_doubt(target: StandIn, home: Home) -> None:
    assert isinstance(target, HttpStandIn)
    target.faults.extend([Fault("lost")] * 10_000)
    delivered(home, target, records_of(target, numbers=range(3)))
    assert in_doubt(home, target) == {identifier_of(target, number) for number in range(3)}


@of_those_that(lambda made: made.expire_token())
def test_an_expired_token_is_renewed_once(target: StandIn, home: Home) -> None:
    records = records_of(target)
    delivered(home, target, records)
    assert target.expire_token()
    records = records_of(target, version=1)
    assert delivered(home, target, records).delivered == ENTITIES
    assert target.state() == expected(records, target)


def test_a_cleared_record_holds_none_of_the_fields(target: StandIn, home: Home) -> None:
    records = records_of(target, numbers=range(5))
    delivered(home, target, records)
    clears = [
        Record(
            **{
                **vars_of(record),
                "action": "clear",
                "fields": dict.fromkeys(record.fields),
                "changed": record.fields,
            }
        )
        for record in records
    ]
    assert delivered(home, target, clears).delivered == 5
    assert {identifier: fields for identifier, fields in target.state().items() if fields} == {}
    assert acknowledged(home, target) == set()


@of_those_that(lambda made: destinations()[made.name].object_of(made.sync())[1].deletes)
def test_a_deleted_record_is_gone(target: StandIn, home: Home) -> None:
    records = records_of(target, numbers=range(5))
    delivered(home, target, records)
    gone = [
        Record(**{**vars_of(record), "action": "delete", "fields": dict.fromkeys(record.fields), "forgotten": True})
        for record in records[:2]
    ]
    assert delivered(home, target, gone).delivered == 2
    assert set(target.state()) == {record.identifier for record in records[2:]}
    # The vendor has it no more: deleting again is no failure.
    assert delivered(home, target, gone).failed == 0


def vars_of(record: Record) -> dict[str, Any]:
    return {name: getattr(record, name) for name in Record.__dataclass_fields__}


def test_no_secret_is_told(target: StandIn, home: Home) -> None:
    secrets = [value for value in target.environment().values() if len(value) > 8]
    destination = destination_of(target.sync())(target.sync(), home.outbox)
    with closing(destination):
        told = (
            repr(destination) + repr(vars(destination).get("sync")) + str(destination.preview(records_of(target)[:2]))
        )
    if isinstance(target, HttpStandIn):
        target.faults.extend([Fault("answer", 400)] * 10_000)
        told += delivered(home, target, records_of(target, numbers=range(3))).error
    for secret in secrets:
        assert secret not in told
    for path in home.root.rglob("*"):
        if path.is_file():
            assert not any(secret.encode() in path.read_bytes() for secret in secrets), path


def test_what_was_delivered_is_read_back_where_records_can_be_read(target: StandIn, home: Home) -> None:
    records = records_of(target, 0, range(3))
    assert delivered(home, target, records).delivered == 3
    sync = target.sync()
    absent = replace(records[0], identifier=identifier_of(target, 9000))
    with closing(destination_of(sync)(sync, home.outbox)) as destination:
        there = destination.read([*records, absent])
        assert there is None or absent.identifier not in there
        outcome = read_back(destination, [*records, absent], lambda record: record is not records[2], lambda _: None)
    readable = {"braze", "hubspot", "intercom", "postgres", "salesforce"}
    said = "as sent" if target.name in readable else UNREADABLE
    missing = "not found" if target.name in readable else UNREADABLE
    assert [record.there for record in outcome] == [said, said, "not delivered", missing]
    assert [record.is_good for record in outcome] == [True, True, False, target.name not in readable]
