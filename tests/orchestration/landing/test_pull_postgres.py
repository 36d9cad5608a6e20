"""A table in a real Postgres is followed by its cursor; its password goes nowhere."""

import os
import traceback
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orchestration.errors import UsageError
from orchestration.home import Home, Settings
from orchestration.landing.declared import Pull
from orchestration.landing.postgres import PostgresReader
from orchestration.landing.pull import PullReport, pull
from tests.conftest import NOW, queried
from tests.postgres import PASSWORD, Server

Followed = Callable[..., Pull]
ORDERS = "create table sales.orders (id int, plan text, detail jsonb, received_at timestamptz)"


def insert(*rows: str) -> str:
    return f"insert into sales.orders values {', '.join(rows)}"


def counts(reports: list[PullReport]) -> tuple[int | None, int, int]:
    (report,) = reports
    assert not report.error
    return report.load_id, report.accepted, report.duplicates


def test_only_what_is_new_is_read_and_equal_rows_land_once(home: Home, postgres: Server, followed: Followed) -> None:
    postgres.execute(
        ORDERS,
        insert("(1, 'pro', '{\"ip\": \"::1\"}', '2025-06-01 10:00Z')", "(2, 'free', null, '2025-06-01 12:00Z')"),
    )
    orders = followed(overlap="30 minutes")
    assert counts(pull(home, [orders], now=NOW)) == (1, 2, 0)
    # The bound is read again, so the last row is seen twice and lands once.
    assert counts(pull(home, [orders], now=NOW)) == (None, 0, 1)
    postgres.execute(
        insert(
            "(3, 'late', null, '2025-06-01 11:45Z')",
            "(4, 'too late', null, '2025-06-01 11:15Z')",
            "(5, 'new', null, '2025-06-01 13:00Z')",
            "(6, 'no cursor', null, null)",
        )
    )
    assert counts(pull(home, [orders], now=NOW)) == (2, 3, 1)
    assert queried(home, "select id, plan, detail, received_at, load_id from raw_shop.orders order by id") == [
        ("1", "pro", '{"ip":"::1"}', "2025-06-01T10:00:00+00:00", 1),
        ("2", "free", None, "2025-06-01T12:00:00+00:00", 1),
        ("3", "late", None, "2025-06-01T11:45:00+00:00", 2),
        ("5", "new", None, "2025-06-01T13:00:00+00:00", 2),
        ("6", "no cursor", None, None, 2),
    ]
    assert queried(home, "select table_name, files, accepted, newest_event_at from raw.loads order by load_id") == [
        ("raw_shop.orders", ["postgres sales.orders"], 2, datetime(2025, 6, 1, 12)),
        ("raw_shop.orders", ["postgres sales.orders"], 3, datetime(2025, 6, 1, 13)),
    ]
    assert home.status()["loads"]["load_id"] == 2


def test_what_is_rewritten_or_deleted_upstream_stays_in_the_copy(
    home: Home, postgres: Server, followed: Followed
) -> None:
    postgres.execute(ORDERS, insert("(1, 'free', null, '2025-06-01 10:00Z')", "(2, 'free', null, '2025-06-01 10:05Z')"))
    pull(home, [followed()], now=NOW)
    postgres.execute(
        "update sales.orders set plan = 'pro', received_at = '2025-06-02 10:00Z' where id = 1",
        "delete from sales.orders where id = 2",
    )
    pull(home, [followed()], now=NOW)
    assert queried(home, "select id, plan, load_id from raw_shop.orders order by all") == [
        ("1", "free", 1),
        ("1", "pro", 2),
        ("2", "free", 1),
    ]


def test_a_row_from_the_future_does_not_hide_those_after_it(home: Home, postgres: Server, followed: Followed) -> None:
    postgres.execute(ORDERS, insert("(1, 'a', null, '2999-01-01Z')", "(2, 'b', null, 'infinity')"))
    pull(home, [followed()], now=NOW)
    assert queried(home, "select cursor_value from raw.pulled_cursors") == [(NOW.isoformat(),)]
    postgres.execute(insert("(3, 'c', null, '2026-01-01 00:30Z')"))
    assert counts(pull(home, [followed()], now=datetime(2026, 1, 2))) == (2, 1, 2)
    assert queried(home, "select newest_event_at from raw.loads order by load_id") == [
        (None,),
        (datetime(2026, 1, 1, 0, 30),),
    ]


@pytest.mark.parametrize(
    ("kind", "first", "later", "kept"),
    [
        ("timestamp", "'2025-06-01 10:00'", "'2025-06-02 10:00:00.123456'", "2025-06-02T10:00:00.123456"),
        ("date", "'2025-06-01'", "'2025-06-02'", "2025-06-02T00:00:00"),
        ("bigint", "9007199254740993", "9007199254740994", "9007199254740994"),
    ],
)
def test_a_cursor_may_be_a_time_a_date_or_a_number(
    home: Home, postgres: Server, followed: Followed, kind: str, first: str, later: str, kept: str
) -> None:
    orders = followed(cursor="Seq", overlap=0 if kind == "bigint" else "0 minutes")
    postgres.execute(f'create table sales.orders (id int, "Seq" {kind})', insert(f"(1, {first})"))
    assert counts(pull(home, [orders], now=NOW)) == (1, 1, 0)
    postgres.execute(insert(f"(2, {later})"))
    assert counts(pull(home, [orders], now=NOW)) == (2, 1, 1)
    assert counts(pull(home, [orders], now=NOW)) == (None, 0, 1)
    assert queried(home, "select cursor_value from raw.pulled_cursors") == [(kept,)]


def test_another_cursor_or_table_is_read_from_its_beginning(home: Home, postgres: Server, followed: Followed) -> None:
    postgres.execute(
        ORDERS,
        insert("(1, 'a', null, '2025-06-01Z')"),
        "create view sales.all_orders as select * from sales.orders union all select 9, 'old', null, '2020-01-01Z'",
    )
    pull(home, [followed()], now=NOW)
    assert counts(pull(home, [followed(table="sales.all_orders")], now=NOW)) == (2, 1, 1)
    assert counts(pull(home, [followed(cursor="id", overlap=1)], now=NOW)) == (None, 0, 1)


def test_events_pass_the_same_checks_as_a_load(home: Home, postgres: Server, followed: Followed) -> None:
    postgres.execute(
        "create table sales.orders (who text, what text, at timestamptz, props jsonb, received_at timestamptz)",
        """insert into sales.orders values
            ('u1', 'opened', '2025-06-01 10:00Z', '{"plan": "pro"}', '2025-06-01 10:00Z'),
            (null, 'opened', '2025-06-01 10:00Z', null, '2025-06-01 10:00Z')""",
    )
    fields = {"user_id": "who", "event_name": "what", "occurred_at": "at", "properties": "props"}
    orders = followed(source="raw", map=fields, source_name="app")
    (first,) = pull(home, [orders], now=NOW)
    (again,) = pull(home, [orders], now=NOW)
    assert (first.accepted, first.rejected, first.reasons) == (1, 1, {"neither user_id nor anonymous_id": 1})
    assert (again.load_id, again.accepted, again.duplicates) == (None, 0, 1)
    assert queried(home, "select user_id, event_name, occurred_at, properties, source from raw.events") == [
        ("u1", "opened", datetime(2025, 6, 1, 10), '{"plan":"pro"}', "app")
    ]
    assert queried(home, "select file, reason from raw.rejected_events") == [
        ("postgres sales.orders", "neither user_id nor anonymous_id")
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"table": "sales.nothing"}, "pull.postgres.table: there is no table sales.nothing"),
        ({"cursor": "nothing"}, "pull.postgres.cursor: column nothing of sales.orders is not there"),
        ({"cursor": "plan"}, "column plan of sales.orders is of type text"),
        ({"cursor": "id"}, "pull.postgres.overlap: '1 hour' does not fit a cursor of type integer"),
        ({"overlap": 5}, "'5' does not fit a cursor of type timestamp with time zone"),
    ],
)
def test_what_the_server_does_not_have_is_named(
    home: Home, postgres: Server, followed: Followed, fields: dict[str, Any], message: str
) -> None:
    postgres.execute(ORDERS)
    (report,) = pull(home, [followed(**fields)], now=NOW)
    assert message in report.error
    assert report.error.startswith("models/staging/shop/_shop.yml: table raw_shop.orders: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("password=", "password=x"), "user or password is refused"),
        (("dbname=postgres", "dbname=nothing"), "it has no such database or user"),
        (("host=/", "host=/nowhere/"), "nothing listens there"),
        (("host=/", "hosst=/"), "SHOP_DSN says cannot be used"),
    ],
)
def test_the_connection_string_is_in_no_error_and_no_file(
    home: Home,
    postgres: Server,
    followed: Followed,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, str],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    broken = postgres.dsn.replace(*change)
    if "password" in change[0]:
        broken = postgres.dsn.replace("s3cr3t", "s3cr3t-wrong")
    monkeypatch.setenv("SHOP_DSN", broken)
    (report,) = pull(home, [followed()], now=NOW)
    assert message in report.error
    monkeypatch.setenv("SHOP_DSN", postgres.dsn)
    postgres.execute(ORDERS, insert("(1, 'a', null, '2025-06-01Z')"))
    pull(home, [followed()], now=NOW)
    said = "".join(capfd.readouterr()) + report.error
    assert "s3cr3t" not in said
    assert "user=reader" not in said
    for path in home.root.rglob("*"):
        if path.is_file():
            assert b"s3cr3t" not in path.read_bytes(), path
    assert "PGTZ" not in os.environ
    assert PASSWORD not in str(queried(home, "from raw.loads"))


def test_the_driver_error_hangs_on_to_nothing(postgres: Server, followed: Followed, monkeypatch: Any) -> None:
    """A traceback, as --debug and Dagster show it, follows the context of an error."""
    monkeypatch.setenv("SHOP_DSN", postgres.dsn.replace("s3cr3t", "s3cr3t-wrong"))
    declared = followed().declared.postgres
    assert declared is not None
    with pytest.raises(UsageError) as raised:
        list(PostgresReader(declared, "here").records(None, NOW))
    assert raised.value.__context__ is None
    assert "s3cr3t" not in "".join(traceback.format_exception(raised.value))


def test_a_variable_that_is_not_set_is_named(home: Home, followed: Followed, monkeypatch: Any) -> None:
    monkeypatch.delenv("SHOP_DSN", raising=False)
    (report,) = pull(home, [followed()], now=NOW)
    assert report.error == (
        "models/staging/shop/_shop.yml: table raw_shop.orders: pull.postgres.dsn_env: the environment variable SHOP_DSN"
        " is not set. Set SHOP_DSN and pull again."
    )


def test_pulls_in_steps_give_what_one_pull_gives(
    home: Home, postgres: Server, followed: Followed, tmp_path: Path
) -> None:
    postgres.execute(ORDERS)
    for hour in range(6):
        postgres.execute(
            insert(*(f"({hour * 10 + n}, 'p', null, '2025-06-01 0{hour}:{59 - 20 * (n % 3)}Z')" for n in range(4)))
        )
        pull(home, [followed()], now=NOW)
    other = Home(Settings(home=tmp_path / "other"))
    pull(other, [followed()], now=NOW)
    rows = "select id, plan, received_at from raw_shop.orders order by all"
    assert queried(home, rows) == queried(other, rows)
    assert len(queried(other, rows)) == 24
