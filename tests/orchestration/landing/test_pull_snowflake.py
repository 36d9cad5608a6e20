"""A table of Snowflake is followed through its own connector, against a local stand-in for the service."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from orchestration.home import Home
from orchestration.landing import database
from orchestration.landing.declared import Pull
from orchestration.landing.pull import pull
from tests.conftest import NOW, queried
from tests.fake_snowflake import running_snowflake

Followed = Callable[..., Pull]
TYPES = {
    "id": ("number(38, 0)", "9007199254740993", "9007199254740993"),
    "price": ("number(30, 18)", "123456789012.012345678901234567", "123456789012.012345678901234567"),
    "ratio": ("float", "0.1", "0.1"),
    "ok": ("boolean", "true", "true"),
    "detail": ("variant", """parse_json('{"b": [1, null], "a": 1.5}')""", '{"a":1.5,"b":[1,null]}'),
    "list": ("array", "parse_json('[1, 2]')", "[1,2]"),
    "bytes": ("binary", "to_binary('00ff', 'HEX')", "\\x00ff"),
    "a_day": ("date", "'2025-06-01'::date", "2025-06-01"),
    "clock": ("time", "'10:00:00'::time", "10:00:00"),
    "local_time": ("timestamp_ntz", "'2025-06-01 10:00:00.123456'::timestamp_ntz", "2025-06-01T10:00:00.123456"),
    "received_at": (
        "timestamp_tz",
        "'2025-06-01 12:00:00.123456 +0200'::timestamp_tz",
        "2025-06-01T10:00:00.123456+00:00",
    ),
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_snowflake() as made:
        yield made


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Runs SQL in the service; its URL is in SHOP_URL."""
    monkeypatch.setenv("SHOP_URL", url)
    # The service itself has no plain HTTP, and its URL cannot ask for it.
    monkeypatch.setitem(database._OPTIONS, "snowflake", database._OPTIONS["snowflake"] | {"protocol": "http"})
    engine = sa.create_engine(url, connect_args={"protocol": "http"})

    def execute(*statements: str) -> None:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    execute("create database if not exists shop", "create schema if not exists shop.sales")
    yield execute
    engine.dispose()


@pytest.mark.long
def test_a_table_of_snowflake_is_followed_and_keeps_its_types(home: Home, run: Any, followed: Followed) -> None:
    columns = ", ".join(f"{name} {kind}" for name, (kind, _, _) in TYPES.items())
    values = ", ".join(f"{sql} as {name}" for name, (_, sql, _) in TYPES.items())
    run(f"create or replace table shop.sales.orders ({columns})", f"insert into shop.sales.orders select {values}")
    for table in ("sales.orders", "shop.sales.orders"):
        (report,) = pull(home, [followed(table=table)], now=NOW)
        assert (report.error, report.rows) == ("", 1)
    (row,) = queried(home, f"select {', '.join(TYPES)} from raw_shop.orders")
    assert dict(zip(TYPES, row, strict=True)) == {name: text for name, (_, _, text) in TYPES.items()}
    run("insert into shop.sales.orders (id, received_at) values (2, '2025-06-01 09:30:00 +0000'::timestamp_tz)")
    run("insert into shop.sales.orders (id, received_at) values (3, '2025-06-01 08:30:00 +0000'::timestamp_tz)")
    run("insert into shop.sales.orders (id) values (4)")
    (second,) = pull(home, [followed(table="shop.sales.orders")], now=NOW)
    assert (second.rows, second.accepted) == (3, 2)
    assert "received_at >= " in second.predicate
    assert "2025-06-01 09:00:00.123456" in second.predicate


@pytest.mark.long
def test_what_snowflake_does_not_have_is_named(
    home: Home, run: Any, url: str, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("create or replace table shop.sales.orders (id number(38, 0), plan varchar)")
    messages = {
        "there is no table sales.nothing": followed(table="sales.nothing"),
        "column received_at of sales.orders is not there": followed(),
        "column plan of sales.orders is of type varchar": followed(cursor="plan"),
    }
    for message, declared in messages.items():
        (report,) = pull(home, [declared], now=NOW)
        assert message in report.error
    monkeypatch.setenv("SHOP_URL", url.replace("127.0.0.1:", "127.0.0.2:"))
    (report,) = pull(home, [followed()], now=NOW)
    assert "the database of SHOP_URL cannot be reached" in report.error
    assert "s3cr3t" not in report.error
