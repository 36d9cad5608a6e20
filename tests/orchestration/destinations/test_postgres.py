"""What is a table's own: a batch whole or not at all, columns made or missing, and a server that goes away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from orchestration.destinations import ClosedError, Outcomes, Record, RefusedError, UnavailableError
from orchestration.destinations._pace import Pace
from orchestration.destinations.postgres import PostgresDestination
from orchestration.errors import UsageError
from orchestration.home import Home, Settings, silent
from orchestration.sync.deliver import deliver
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.validate import destination_of
from tests.orchestration.destinations.standins.postgres import PostgresStandIn, server
from tests.postgres import PASSWORD

MADE = {"table": "crm.made", "create": True}
ONCE = """
    create sequence crm.calls;
    create function crm.once() returns trigger language plpgsql as $$
    begin
        if nextval('crm.calls') = 1 then {what}; end if;
        return new;
    end $$;
    create trigger fails before insert on crm.people for each row execute function crm.once()
"""


@pytest.fixture
def postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresStandIn]:
    made = PostgresStandIn()
    with made.running(tmp_path):
        monkeypatch.setenv("POSTGRES_DSN", server().dsn)
        yield made


@pytest.fixture
def destination(postgres: PostgresStandIn) -> Iterator[Callable[..., PostgresDestination]]:
    opened: list[PostgresDestination] = []

    def open_one(**options: Any) -> PostgresDestination:
        opened.append(PostgresDestination(postgres.sync(options=options or MADE), Path(), Pace()))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def record_of(identifier: str, action: Any = "upsert", **fields: Any) -> Record:
    return Record(
        sync="attacked",
        entity_type="user",
        entity_id=identifier,
        identifier=identifier,
        action=action,
        fields=fields,
        changed=dict.fromkeys(fields),
        reasons={},
        build_id="000007",
        as_of=datetime(2024, 6, 30),
    )


def through_the_engine(postgres: PostgresStandIn, home_folder: Path, *records: Record) -> tuple[int, int, int]:
    home, sync = Home(Settings(home=home_folder, env="production")), postgres.sync()
    with SyncLedger(home) as ledger, closing(destination_of(sync)(sync, home.outbox, Pace())) as opened:
        done = deliver(opened, records, ledger, silent, sleep=lambda seconds: None)
    return done.delivered, done.failed, done.retries


def test_the_table_is_made_with_types_and_columns_come_when_they_have_values(
    postgres: PostgresStandIn, destination: Callable[..., PostgresDestination]
) -> None:
    made = destination()
    made.deliver([record_of("a", stage="new", score=1.0, later=None), record_of("b", at_risk=False)])
    columns = "select attname, format_type(atttypid, null) as kind, exists (select from pg_index where indrelid ="
    columns += " attrelid and indisprimary and attnum = any (indkey)) as keyed from pg_attribute"
    columns += " where attrelid = 'crm.made'::regclass and attnum > 0"
    assert {(row["attname"], row["kind"], row["keyed"]) for row in postgres.rows(columns)} == {
        ("user_id", "text", True),
        ("build_id", "text", False),
        ("synced_at", "timestamp with time zone", False),
        ("stage", "text", False),
        ("score", "double precision", False),
        ("at_risk", "boolean", False),
    }
    made.deliver([record_of("a", later="now")])
    first, second = postgres.rows("select * from crm.made order by user_id")
    assert (first["stage"], first["score"], first["later"], first["build_id"]) == ("new", 1.0, "now", "000007")
    assert (second["stage"], second["at_risk"]) == (None, False)
    assert abs(first["synced_at"] - datetime.now(UTC)) < timedelta(minutes=5)


def test_names_and_values_are_never_read_as_sql(
    postgres: PostgresStandIn, destination: Callable[..., PostgresDestination]
) -> None:
    evil = "x'); drop table crm.people; --"
    assert destination(table="crm.Odd;table'--", create=True).deliver([record_of(evil, **{"Select %s": evil})]) == [
        None
    ]
    (row,) = postgres.rows("""select * from crm."Odd;table'--" """)
    assert (row["user_id"], row["Select %s"]) == (evil, evil)
    assert postgres.state() == {}


def test_a_batch_is_written_whole_or_not_at_all(
    postgres: PostgresStandIn, destination: Callable[..., PostgresDestination]
) -> None:
    postgres.poisoned = {"b"}
    people = destination(table="crm.people", create=True)
    with pytest.raises(RefusedError, match="answered 23514: this person may not be here"):
        people.deliver([record_of("a", stage="new"), record_of("b", stage="new")])
    assert postgres.state() == {}
    assert people.deliver([record_of("a", stage="new")]) == [None]
    assert postgres.state() == {"a": {"stage": "new"}}


def test_a_value_that_does_not_fit_its_column_is_refused_and_never_rounded(
    postgres: PostgresStandIn, destination: Callable[..., PostgresDestination]
) -> None:
    server().execute("alter table crm.people add seats int, add plan varchar(4)")
    people = destination(table="crm.people")
    assert people.deliver([record_of("a", seats=4.0, plan="free")]) == [None]
    for wrong in ({"seats": 2.5}, {"plan": "enterprise"}, {"plan": "a\0b"}):
        with pytest.raises(RefusedError):
            people.deliver([record_of("a", **wrong)])
    assert postgres.state() == {"a": {"seats": 4, "plan": "free"}}


def test_other_columns_and_rows_stay_and_a_clear_makes_no_row(
    postgres: PostgresStandIn, destination: Callable[..., PostgresDestination]
) -> None:
    server().execute(
        "alter table crm.people add owner text default 'nobody', add stage text",
        "insert into crm.people values ('a', null, null, 'ann', 'old'), ('z', null, null, 'zoe', 'old')",
    )
    people = destination(table="crm.people")
    people.deliver([record_of("a", stage="new"), record_of("b", stage="new"), record_of("gone", "clear", stage=None)])
    people.deliver([record_of("b", "clear", stage="none"), record_of("never", "delete", stage=None)])
    assert postgres.state() == {
        "a": {"owner": "ann", "stage": "new"},
        "b": {"owner": "nobody", "stage": "none"},
        "z": {"owner": "zoe", "stage": "old"},
    }


@pytest.mark.parametrize(
    ("prepared", "options", "said"),
    [
        ("select", {"table": "crm.nowhere"}, 'relation "crm.nowhere" does not exist'),
        ("select", {"table": "nowhere.made", "create": True}, 'schema "nowhere" does not exist'),
        ("select", {"table": "crm.people"}, "column .*stage.* does not exist"),
        ("alter table crm.people drop constraint people_pkey, add stage text", {"table": "crm.people"}, "no unique"),
    ],
)
def test_what_a_person_has_to_mend_ends_the_run(
    destination: Callable[..., PostgresDestination], prepared: str, options: dict[str, Any], said: str
) -> None:
    server().execute(prepared)
    with pytest.raises(ClosedError, match=said):
        destination(**options).deliver([record_of("a", stage="new")])


@pytest.mark.parametrize(
    "what",
    [
        "raise serialization_failure",
        "raise deadlock_detected",
        "raise lock_not_available",
        "perform pg_terminate_backend(pg_backend_pid())",
    ],
)
def test_a_conflict_or_a_lost_connection_is_tried_again(postgres: PostgresStandIn, tmp_path: Path, what: str) -> None:
    server().execute(ONCE.format(what=what))
    assert through_the_engine(
        postgres, tmp_path / "home", record_of("a", stage="new"), record_of("b", stage="new")
    ) == (2, 0, 1)
    assert postgres.state() == {"a": {"stage": "new"}, "b": {"stage": "new"}}


def test_a_connection_that_was_cut_between_batches_is_made_anew(
    postgres: PostgresStandIn, destination: Callable[..., PostgresDestination]
) -> None:
    made = destination()
    made.deliver([record_of("a", stage="new")])
    server().execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'traithouse'")
    with pytest.raises(UnavailableError):
        made.deliver([record_of("a", stage="active")])
    assert made.deliver([record_of("a", stage="active")]) == [None]
    assert [row["stage"] for row in postgres.rows("select stage from crm.made")] == ["active"]


def test_a_locked_row_is_waited_for_and_then_tried_again(
    postgres: PostgresStandIn, destination: Callable[..., PostgresDestination], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresDestination, "lock_seconds", 0.05)
    made = destination()
    made.deliver([record_of("a", stage="new")])
    with psycopg.connect(server().dsn) as other:
        other.execute("select from crm.made for update")
        with pytest.raises(UnavailableError, match="lock timeout"):
            made.deliver([record_of("a", stage="active")])
    assert made.deliver([record_of("a", stage="active")]) == [None]


def without_password(dsn: str) -> str:
    return dsn[: dsn.index(" password=")]


@pytest.mark.parametrize(
    ("dsn", "kind"),
    [
        (lambda dsn: without_password(dsn) + " password='s3cr3t-wrong'", ClosedError),
        (without_password, ClosedError),
        (lambda dsn: dsn.replace("dbname=postgres", "dbname=s3cr3t"), ClosedError),
        (lambda dsn: "host=127.0.0.1 port=9 password=s3cr3t", UnavailableError),
        (lambda dsn: "s3cr3t:not a dsn", UsageError),
    ],
)
def test_nothing_of_the_connection_string_is_told(
    destination: Callable[..., PostgresDestination],
    monkeypatch: pytest.MonkeyPatch,
    dsn: Callable[[str], str],
    kind: type[Exception],
) -> None:
    monkeypatch.setenv("POSTGRES_DSN", dsn(server().dsn))
    with pytest.raises(kind) as error:
        destination().deliver([record_of("a", stage="new")])
    assert "s3cr3t" not in str(error.value) + getattr(error.value, "hint", "")
    assert error.value.__cause__ is None
    assert error.value.__context__ is None


def test_another_machine_is_spoken_to_encrypted_unless_its_string_says_otherwise(
    destination: Callable[..., PostgresDestination], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def refuse(given: str, **rest: Any) -> None:
        seen.append(re.sub(r".*sslmode=(\w+).*|.*", r"\1", given))
        raise psycopg.OperationalError("unreachable")

    monkeypatch.setattr(psycopg, "connect", refuse)
    for dsn in (
        "host=db.example.com",
        "host=db.example.com sslmode=disable",
        "host=localhost,db.example.com",
        "host=::1",
    ):
        monkeypatch.setenv("POSTGRES_DSN", dsn)
        with pytest.raises(UnavailableError):
            destination().deliver([record_of("a", stage="new")])
    assert seen == ["require", "disable", "require", ""]


def test_the_password_is_in_nothing_that_is_told(destination: Callable[..., PostgresDestination]) -> None:
    made = destination()
    outcomes: Outcomes = made.deliver([record_of("a", stage="new")])
    told = str(made.preview([record_of("a", stage="new"), record_of("b", "delete", stage=None)])) + str(outcomes)
    assert PASSWORD not in told
    assert 'insert into "crm"."made"' in told
    assert made.mask(f"password={PASSWORD}") == "password=***"


@pytest.mark.parametrize("table", ["people", "a.b.c", 'crm."x"'])
def test_a_table_has_a_schema_and_a_name(postgres: PostgresStandIn, table: str) -> None:
    with pytest.raises(UsageError, match=r"options\.table"):
        destination_of(postgres.sync(options={"table": table}))
