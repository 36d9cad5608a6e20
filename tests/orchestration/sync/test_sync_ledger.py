"""What is remembered of deliveries."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime

import pytest

from orchestration.destinations import Failure, Record
from orchestration.home import Home
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.ledger_schema import DeliveryResult

RECORD = Record(
    sync="crm",
    entity_type="user",
    entity_id="u1",
    identifier="a@x.org",
    action="upsert",
    fields={"paying": True},
    changed={"paying": None},
    reasons={},
    build_id="000001",
    as_of=datetime(2024, 6, 30),
    source="s1",
)
OTHER = replace(RECORD, entity_id="u2", identifier="b@x.org")
GONE = replace(RECORD, action="clear", fields={"paying": None}, source="gone")
REFUSED, UNANSWERED = Failure("no such field"), Failure("down", again=True)


def kinds(ledger: SyncLedger) -> list[tuple[str, str, int]]:
    return [(row["entity_id"], row["kind"], row["tries"]) for row in ledger.failure_rows()]


def test_a_record_is_in_doubt_until_it_is_acknowledged(home: Home) -> None:
    with SyncLedger(home) as ledger:
        ledger.settle(begun=[RECORD])
        assert ledger.in_doubt("crm")["a@x.org"].record_id == RECORD.record_id
        assert ledger.sent("crm") == {}
    with SyncLedger(home) as ledger:
        ledger.settle([DeliveryResult(RECORD)])
        assert ledger.in_doubt("crm") == {}
        assert ledger.sent("crm")["a@x.org"][:4] == ("u1", "s1", "000001", '{"paying": true}')
        assert ledger.sent("another") == {}


def test_a_refusal_ends_the_doubt_where_every_sending_was_answered(home: Home) -> None:
    with SyncLedger(home) as ledger:
        ledger.settle(begun=[RECORD])
        ledger.settle([DeliveryResult(RECORD, REFUSED)])
        assert ledger.in_doubt("crm") == {}
        assert ledger.refused("crm") == {"a@x.org": "s1"}


def test_a_refusal_after_a_run_that_was_cut_off_leaves_the_doubt(home: Home) -> None:
    with SyncLedger(home) as ledger:
        ledger.settle(begun=[RECORD])
        ledger.begin_run("crm")
        ledger.settle(begun=[RECORD])
        ledger.settle([DeliveryResult(RECORD, REFUSED)])
        assert set(ledger.in_doubt("crm")) == {"a@x.org"}


def test_a_refusal_after_an_unanswered_sending_of_the_same_run_leaves_the_doubt(home: Home) -> None:
    with SyncLedger(home) as ledger:
        ledger.settle(begun=[RECORD, OTHER])
        ledger.settle(
            [DeliveryResult(RECORD, REFUSED), DeliveryResult(OTHER, REFUSED)], unanswered={"crm": ["a@x.org"]}
        )
        assert set(ledger.in_doubt("crm")) == {"a@x.org"}


def test_a_dead_letter_counts_its_tries_and_goes_with_the_acknowledgement(home: Home) -> None:
    with SyncLedger(home) as ledger:
        for failure in (UNANSWERED, UNANSWERED, REFUSED):
            ledger.settle(begun=[RECORD])
            ledger.settle([DeliveryResult(RECORD, failure)])
        assert kinds(ledger) == [("u1", "refused", 3)]
        assert set(ledger.in_doubt("crm")) == {"a@x.org"}
        ledger.settle([DeliveryResult(RECORD)])
        assert ledger.failure_rows() == []


def test_a_commit_is_whole_or_not_at_all(home: Home) -> None:
    broken = replace(OTHER, fields={"paying": object()})
    with SyncLedger(home) as ledger:
        ledger.settle(begun=[RECORD])
        with pytest.raises(TypeError):
            ledger.settle([DeliveryResult(RECORD), DeliveryResult(broken)], operations={"crm": 2})
        assert ledger.sent("crm") == {}
        assert set(ledger.in_doubt("crm")) == {"a@x.org"}


def test_what_was_cleared_is_no_longer_sent_and_can_still_be_forgotten(home: Home) -> None:
    with SyncLedger(home) as ledger:
        ledger.settle([DeliveryResult(RECORD)])
        ledger.settle([DeliveryResult(GONE)])
        assert ledger.sent("crm") == {}
        assert ledger.cleared("crm")["a@x.org"].fields == '{"paying": null}'
        assert ledger.forget("user", ["u1"], ["crm"]) == ["crm"]
        assert ledger.forgotten("crm") == {"u1"}


def test_somebody_is_forgotten_when_the_last_of_their_records_is_deleted(home: Home) -> None:
    second = replace(RECORD, identifier="old@x.org")
    deletes = [replace(record, action="delete", fields={}, forgotten=True) for record in (RECORD, second)]
    with SyncLedger(home) as ledger:
        ledger.settle([DeliveryResult(RECORD)])
        # The newer address is only in doubt.
        ledger.settle(begun=[second])
        ledger.forget("user", ["u1"], ["crm"])
        ledger.settle([DeliveryResult(deletes[0])])
        assert ledger.forgotten("crm") == {"u1"}
        ledger.settle([DeliveryResult(deletes[1])])
        assert ledger.forgotten("crm") == set()
        assert ledger.noted("crm", "deleted")


def test_who_is_forgotten_leaves_no_trace_where_no_sync_is_declared(home: Home) -> None:
    with SyncLedger(home) as ledger:
        ledger.settle([DeliveryResult(RECORD), DeliveryResult(OTHER, REFUSED)])
        assert ledger.forget("user", ["u1", "u2"], []) == []
    for path in home.root.glob("sync_ledger*"):
        content = path.read_bytes()
        assert b"a@x.org" not in content
        assert b"b@x.org" not in content


def test_operations_are_counted_with_what_they_were_used_for(home: Home) -> None:
    with SyncLedger(home) as ledger:
        ledger.settle([DeliveryResult(RECORD)], operations={"crm": 3})
        ledger.settle([DeliveryResult(OTHER)], operations={"crm": 2})
        (at,) = {sent.after[:10] for sent in ledger.sent("crm").values()}
        assert ledger.operations_on("crm", at) == 5
        assert ledger.operations_on("crm", "2001-01-01") == 0
        assert ledger.operations_on("another", at) == 0


def test_a_new_run_takes_back_that_all_was_settled(home: Home) -> None:
    with SyncLedger(home) as ledger:
        ledger.note("crm", "settled", "x")
        ledger.note("crm", "paused", "holidays")
        ledger.begin_run("crm")
        assert ledger.noted("crm", "settled") is None
        assert ledger.noted("crm", "paused") == "holidays"


EARLIER = """
create table acknowledged (
    sync text, entity_type text, entity_id text, traits text, build_id text, acknowledged_at text,
    primary key (sync, entity_type, entity_id)
);
create table failures (
    sync text, entity_type text, entity_id text, build_id text, reason text, failed_at text,
    primary key (sync, entity_type, entity_id)
);
create table log (
    sync text, started_at text, ended_at text, build_id text, dry_run integer, planned integer, delivered integer,
    failed integer
);
insert into acknowledged values ('crm', 'user', 'u1', '{"paying": true}', '000001', '2024-06-30 00:00:00');
insert into failures values ('crm', 'user', 'u2', '000001', 'answered 422', '2024-06-30 00:00:01');
insert into log values ('crm', '2024-06-30 00:00:00', '2024-06-30 00:00:02', '000001', 0, 2, 1, 1);
"""


def test_a_ledger_of_an_earlier_version_goes_on(home: Home) -> None:
    home.prepare()
    with closing(sqlite3.connect(home.sync_ledger)) as connection:
        connection.executescript(EARLIER)
    for _ in range(2):
        with SyncLedger(home) as ledger:
            assert ledger.sent("crm")["u1"][:4] == ("u1", "", "000001", '{"paying": true}')
            assert kinds(ledger) == [("u2", "refused", 1)]
            (row,) = ledger.run_rows()
            assert {name: value for name, value in row.items() if value is not None} == {
                "sync": "crm",
                "started_at": "2024-06-30 00:00:00",
                "ended_at": "2024-06-30 00:00:02",
                "build_id": "000001",
                "dry_run": 0,
                "planned": 2,
                "delivered": 1,
                "failed": 1,
            }
    with closing(sqlite3.connect(home.sync_ledger)) as connection:
        names = {name for (name,) in connection.execute("select name from sqlite_master")}
    assert not names & {"acknowledged", "failures", "log"}
