"""A table in a real Postgres, and in a real MariaDB, is followed by its cursor; its password goes nowhere."""

import os
import sys
import traceback
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.mysql import LONGTEXT

from orchestration.errors import UsageError
from orchestration.home import Home, Settings
from orchestration.landing import batch, database_rows
from orchestration.landing.database import server_words
from orchestration.landing.database_rows import DatabaseReader
from orchestration.landing.declared import Pull
from orchestration.landing.pull import PullReport, pull
from tests.conftest import NOW, queried
from tests.orchestration.landing.conftest import ORDERS, Shop, at, one_pull
from tests.postgres import PASSWORD, Server

Followed = Callable[..., Pull]
LONG_TEXT = sa.Text().with_variant(LONGTEXT(), "mysql", "mariadb")


def counts(reports: list[PullReport]) -> tuple[int | None, int, int]:
    (report,) = reports
    assert not report.error
    return report.load_id, report.accepted, report.duplicates


def test_only_what_is_new_is_read_and_equal_rows_land_once(home: Home, shop: Shop, followed: Followed) -> None:
    shop.create()
    shop.insert((1, "pro", {"ip": "::1"}, at("2025-06-01 10:00")), (2, "free", None, at("2025-06-01 12:00")))
    orders = followed(overlap="30 minutes")
    (first,) = pull(home, [orders], now=NOW)
    assert (first.load_id, first.accepted, first.duplicates, first.rows, first.predicate) == (1, 2, 0, 2, "")
    # The bound is read again, so the last row is seen twice and lands once.
    assert counts(pull(home, [orders], now=NOW)) == (None, 0, 1)
    shop.insert(
        (3, "late", None, at("2025-06-01 11:45")),
        (4, "too late", None, at("2025-06-01 11:15")),
        (5, "new", None, at("2025-06-01 13:00")),
        (6, "no cursor", None, None),
        (7, "a tie", None, at("2025-06-01 12:00")),
    )
    (report,) = pull(home, [orders], now=NOW)
    assert (report.load_id, report.accepted, report.duplicates, report.rows) == (2, 4, 1, 5)
    assert report.predicate.startswith("received_at >= ")
    assert "2025-06-01 11:30:00" in report.predicate
    rows = queried(home, "select id, plan, json_extract_string(detail, '$.ip'), received_at from raw_shop.orders")
    assert sorted(rows) == [
        ("1", "pro", "::1", "2025-06-01T10:00:00+00:00"),
        ("2", "free", None, "2025-06-01T12:00:00+00:00"),
        ("3", "late", None, "2025-06-01T11:45:00+00:00"),
        ("5", "new", None, "2025-06-01T13:00:00+00:00"),
        ("6", "no cursor", None, None),
        ("7", "a tie", None, "2025-06-01T12:00:00+00:00"),
    ]
    assert queried(home, "select table_name, files, accepted, newest_event_at from raw.loads order by load_id") == [
        ("raw_shop.orders", ["database sales.orders"], 2, datetime(2025, 6, 1, 12)),
        ("raw_shop.orders", ["database sales.orders"], 4, datetime(2025, 6, 1, 13)),
    ]
    read = (
        "select sum(strlen(to_json({id: cast(id as int), plan: plan, received_at: received_at}))) from raw_shop.orders"
    )
    assert report.bytes > queried(home, f"{read} where load_id = 2")[0][0]
    assert home.status()["loads"]["load_id"] == 2


def test_the_server_applies_the_predicate(
    home: Home, shop: Shop, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that the cursor leaves out never leave the server."""
    shop.create()
    shop.insert(*((n, "p", None, at("2025-06-01 00:00") + timedelta(minutes=n)) for n in range(2_500)))
    orders = followed(overlap="5 minutes")
    (first,) = pull(home, [orders], now=NOW)
    (second,) = pull(home, [orders], now=NOW)
    assert (first.rows, second.rows) == (2_500, 6)
    assert second.bytes < first.bytes / 300


def test_what_is_rewritten_or_deleted_upstream_stays_in_the_copy(home: Home, shop: Shop, followed: Followed) -> None:
    shop.create()
    shop.insert((1, "free", None, at("2025-06-01 10:00")), (2, "free", None, at("2025-06-01 10:05")))
    pull(home, [followed()], now=NOW)
    shop.run(
        "update sales.orders set plan = 'pro', received_at = '2025-06-02 10:00:00' where id = 1",
        "delete from sales.orders where id = 2",
    )
    pull(home, [followed()], now=NOW)
    assert queried(home, "select id, plan, load_id from raw_shop.orders order by all") == [
        ("1", "free", 1),
        ("1", "pro", 2),
        ("2", "free", 1),
    ]


def test_a_row_from_the_future_does_not_hide_those_after_it(home: Home, shop: Shop, followed: Followed) -> None:
    shop.create()
    shop.insert((1, "a", None, at("2037-01-01")))
    pull(home, [followed()], now=NOW)
    assert queried(home, "select cursor_value from raw.pulled_cursors") == [(NOW.isoformat(),)]
    shop.insert((3, "c", None, at("2026-01-01 00:30")))
    assert counts(pull(home, [followed()], now=datetime(2026, 1, 2))) == (2, 1, 1)
    assert queried(home, "select newest_event_at from raw.loads order by load_id") == [
        (None,),
        (datetime(2026, 1, 1, 0, 30),),
    ]


def test_a_time_without_end_does_not_move_the_cursor(home: Home, postgres: Shop, followed: Followed) -> None:
    postgres.create()
    postgres.insert((1, "a", None, at("2025-06-01")))
    for number, when in enumerate(("infinity", "-infinity", "0044-03-15 BC", "12025-01-01Z"), 2):
        postgres.run(f"insert into sales.orders values ({number}, 'b', null, '{when}')")
    assert counts(pull(home, [followed()], now=NOW)) == (1, 5, 0)
    assert queried(home, "select cursor_value from raw.pulled_cursors") == [("2025-06-01T00:00:00",)]
    postgres.insert((9, "c", None, at("2025-06-02")))
    assert counts(pull(home, [followed()], now=NOW)) == (2, 1, 3)


@pytest.mark.long
def test_a_day_that_is_none_does_not_move_the_cursor(home: Home, mariadb: Shop, followed: Followed) -> None:
    mariadb.create(id=sa.Integer, received_at=sa.DateTime)
    mariadb.run("insert into sales.orders values (1, '2025-06-01 10:00:00')")
    with mariadb.engine.begin() as connection:
        connection.exec_driver_sql("set session sql_mode = ''")
        connection.exec_driver_sql("insert into sales.orders values (2, '0000-00-00 00:00:00')")
    assert counts(pull(home, [followed()], now=NOW)) == (1, 2, 0)
    assert queried(home, "select cursor_value from raw.pulled_cursors") == [("2025-06-01T10:00:00",)]


@pytest.mark.parametrize(
    ("kind", "first", "later", "kept"),
    [
        (ORDERS["received_at"], at("2025-06-01 10:00"), at("2025-06-02 10:00:00.123456"), "2025-06-02T10:00:00.123456"),
        (sa.DateTime, datetime(2025, 6, 1, 10), datetime(2025, 6, 2, 10), "2025-06-02T10:00:00"),
        (sa.Date, date(2025, 6, 1), date(2025, 6, 2), "2025-06-02T00:00:00"),
        (sa.BigInteger, 9007199254740993, 9007199254740994, "9007199254740994"),
        (sa.Numeric(30, 0), 90071992547409939999, 90071992547409940000, "90071992547409940000"),
    ],
)
def test_a_cursor_may_be_a_time_a_date_or_a_number(
    home: Home, shop: Shop, followed: Followed, kind: Any, first: Any, later: Any, kept: str
) -> None:
    orders = followed(cursor="Seq", overlap=0 if isinstance(first, int) else "0 minutes")
    shop.create(id=sa.Integer, Seq=kind)
    shop.insert((1, first))
    assert counts(pull(home, [orders], now=NOW)) == (1, 1, 0)
    shop.insert((2, later))
    assert counts(pull(home, [orders], now=NOW)) == (2, 1, 1)
    assert counts(pull(home, [orders], now=NOW)) == (None, 0, 1)
    assert queried(home, "select cursor_value from raw.pulled_cursors") == [(kept,)]


def test_another_cursor_or_table_is_read_from_its_beginning(home: Home, shop: Shop, followed: Followed) -> None:
    shop.create()
    shop.insert((1, "a", None, at("2025-06-01")))
    shop.create("older", **ORDERS)
    shop.insert((9, "old", None, at("2020-01-01")), table="older")
    shop.run("create view sales.all_orders as select * from sales.orders union all select * from sales.older")
    pull(home, [followed()], now=NOW)
    assert counts(pull(home, [followed(table="sales.all_orders")], now=NOW)) == (2, 1, 1)
    assert counts(pull(home, [followed(cursor="id", overlap=1)], now=NOW)) == (None, 0, 1)


def test_events_pass_the_same_checks_as_a_load(home: Home, shop: Shop, followed: Followed) -> None:
    instant = ORDERS["received_at"]
    shop.create(who=sa.String(9), what=sa.String(9), at=instant, props=sa.JSON, received_at=instant)
    then = at("2025-06-01 10:00")
    shop.insert(("u1", "opened", then, {"plan": "pro"}, then), (None, "opened", then, None, then))
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
        ("database sales.orders", "neither user_id nor anonymous_id")
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"table": "sales.nothing"}, "pull.database.table: there is no table sales.nothing"),
        ({"cursor": "nothing"}, "pull.database.cursor: column nothing of sales.orders is not there"),
        ({"cursor": "plan"}, "column plan of sales.orders is of type varchar(99)"),
        ({"cursor": "id"}, "pull.database.overlap: '1 hour' does not fit a cursor of type integer"),
        ({"overlap": 5}, "'5' does not fit a cursor of type timestamp"),
    ],
)
def test_what_the_server_does_not_have_is_named(
    home: Home, shop: Shop, followed: Followed, fields: dict[str, Any], message: str
) -> None:
    shop.create()
    (report,) = pull(home, [followed(**fields)], now=NOW)
    assert message in report.error
    assert report.error.startswith("models/staging/shop/_shop.yml: table raw_shop.orders: ")


BROKEN = {
    "postgres": [
        (("s3cr3t", "s3cr3t-wrong"), "user or password is refused"),
        (("dbname=postgres", "dbname=nothing"), "it has no such database or user"),
        (("host=/", "host=/nowhere/"), "nothing listens there"),
        (("host=/", "hosst=/"), "SHOP_URL says cannot be used"),
    ],
    "mariadb": [
        (("s3cr3t", "s3cr3t-wrong"), "user or password is refused"),
        (("/sales", "/nothing"), "it has no such database or user"),
        (("127.0.0.1:", "127.0.0.2:"), "nothing listens there"),
        (("127.0.0.1:", "127.0.0.1:port"), "SHOP_URL says cannot be used"),
        (("mariadb:", "marriadb:"), "the driver of marriadb is not installed"),
    ],
}


def test_the_address_is_in_no_error_and_no_file(
    home: Home, shop: Shop, followed: Followed, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    said = ""
    for change, message in BROKEN[shop.kind]:
        monkeypatch.setenv("SHOP_URL", shop.address.replace(*change))
        (report,) = pull(home, [followed()], now=NOW)
        assert message in report.error
        said += report.error
    monkeypatch.setenv("SHOP_URL", shop.address)
    shop.create()
    shop.insert((1, "a", None, at("2025-06-01")))
    pull(home, [followed()], now=NOW)
    said += "".join(capfd.readouterr())
    assert "s3cr3t" not in said
    assert "reader" not in said
    for path in home.root.rglob("*"):
        if path.is_file():
            assert b"s3cr3t" not in path.read_bytes(), path
    assert "PGTZ" not in os.environ
    assert PASSWORD not in str(queried(home, "from raw.loads"))


def test_the_driver_error_hangs_on_to_nothing(shop: Shop, followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback, as --debug and Dagster show it, follows the context of an error."""
    declared = followed().declared.database
    assert declared is not None
    for change, _ in BROKEN[shop.kind]:
        monkeypatch.setenv("SHOP_URL", shop.address.replace(*change))
        with pytest.raises(UsageError) as raised:
            list(DatabaseReader(declared, "here").records(None, NOW))
        assert raised.value.__context__ is None
        assert raised.value.__cause__ is None
        assert "s3cr3t" not in "".join(traceback.format_exception(raised.value))


def test_words_that_repeat_the_address_are_left_out(server: Server) -> None:
    """Whatever a driver says, and however the password is spelt there."""
    within_url = quote(PASSWORD, safe="")
    for address in (server.dsn, server.url, f"mariadb://reader:{within_url}@127.0.0.1/sales"):
        for secret in (PASSWORD, within_url, address):
            assert server_words(ValueError(f"wrong: {secret}!"), address) == "the connection broke"
        assert server_words(ValueError("disk full\nand more"), address) == "disk full"


def test_a_missing_driver_names_the_extra(home: Home, followed: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "snowflake.sqlalchemy", None)
    for name in [name for name in sa.dialects.registry.impls if str(name).startswith("snowflake")]:
        monkeypatch.delitem(sa.dialects.registry.impls, name)
    monkeypatch.setenv("SHOP_URL", "snowflake://reader:s3cr3t@account/shop")
    (report,) = pull(home, [followed()], now=NOW)
    assert "the driver of snowflake is not installed; pip install traithouse[snowflake]" in report.error
    assert "s3cr3t" not in report.error


@pytest.mark.long
def test_a_server_that_breaks_off_leaves_nothing_half_read(home: Home, shop: Shop, followed: Followed) -> None:
    shop.create()
    shop.insert(
        *((n, "p", {"padding": "p" * 500}, at("2025-06-01 00:00") + timedelta(seconds=n)) for n in range(30_000))
    )
    end = {
        "postgres": "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'traithouse'",
        "mariadb": "kill user reader@'127.0.0.1'",
    }

    def cut(message: str) -> None:
        if "5,000 rows" in message:
            shop.run(end[shop.kind])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "BATCH_ROWS", 5_000)
        (report,) = pull(home, [followed()], now=NOW, notify=cut)
    assert "sales.orders cannot be read: " in report.error
    assert "Check the server, then pull again." in report.error
    assert queried(home, "from raw.pulled_cursors") == []
    assert counts(pull(home, [followed()], now=NOW)) == (1, 30_000, 0)


@pytest.mark.long
def test_a_fetch_is_bounded_in_rows_and_bytes(
    home: Home, shop: Shop, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wide rows are asked for a few at a time, and land in small batches."""
    monkeypatch.setattr(database_rows, "FETCHED_BYTES", 300_000)
    monkeypatch.setattr(batch, "BATCH_CHARACTERS", 200_000)
    fetched, landed = [], []
    fetchmany, insert = sa.CursorResult.fetchmany, batch._insert

    def counted(self: Any, size: int | None = None) -> Any:
        fetched.append(size)
        return fetchmany(self, size)

    monkeypatch.setattr(sa.CursorResult, "fetchmany", counted)
    monkeypatch.setattr(batch, "_insert", lambda *arguments: (landed.append(len(arguments[2])), insert(*arguments))[1])
    shop.create(id=sa.Integer, plan=LONG_TEXT, received_at=ORDERS["received_at"])
    shop.insert(*((n, "é" * 50_000, at("2025-06-01")) for n in range(60)))
    fetched.clear()
    assert counts(pull(home, [followed()], now=NOW)) == (1, 60, 0)
    assert fetched[0] == database_rows.FIRST_ROWS
    assert set(fetched[1:]) == {2}
    assert max(landed) == 4


def test_a_variable_that_is_not_set_is_named(home: Home, followed: Followed, monkeypatch: Any) -> None:
    monkeypatch.delenv("SHOP_URL", raising=False)
    (report,) = pull(home, [followed()], now=NOW)
    assert report.error == (
        "models/staging/shop/_shop.yml: table raw_shop.orders: pull.database.url_env: the environment variable SHOP_URL"
        " is not set. Set SHOP_URL and pull again."
    )


def test_the_earlier_names_are_read_alike(home: Home, postgres: Shop) -> None:
    postgres.create()
    postgres.insert((1, "a", None, at("2025-06-01")))
    earlier = {"dsn_env": "SHOP_URL", "table": "sales.orders", "cursor": "received_at"}
    assert counts(pull(home, [one_pull({"postgres": earlier})], now=NOW)) == (1, 1, 0)
    (report,) = pull(home, [one_pull({"postgres": earlier | {"cursor": "x"}})], now=NOW)
    assert "pull.postgres.cursor: column x" in report.error


def test_pulls_in_steps_give_what_one_pull_gives(home: Home, shop: Shop, followed: Followed, tmp_path: Path) -> None:
    shop.create()
    for hour in range(6):
        shop.insert(
            *((hour * 10 + n, "p", None, at(f"2025-06-01 0{hour}:{59 - 20 * (n % 3)}")) for n in range(4)),
        )
        pull(home, [followed()], now=NOW)
    other = Home(Settings(home=tmp_path / "other"))
    pull(other, [followed()], now=NOW)
    rows = "select id, plan, received_at from raw_shop.orders order by all"
    assert queried(home, rows) == queried(other, rows)
    assert len(queried(other, rows)) == 24
