"""No type of a column loses anything on its way into the raw tables."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.home import Home
from orchestration.landing.declared import Pull
from orchestration.landing.pull import pull
from tests.conftest import NOW, queried
from tests.orchestration.landing.conftest import Shop, at
from tests.postgres import Server

Followed = Callable[..., Pull]
POSTGRES = {
    "exact numeric": ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
    "money numeric(12, 2)": ("1234567.80", "1234567.8"),
    "not_a_number numeric": ("'NaN'", "NaN"),
    "double double precision": ("0.1", "0.1"),
    "endless real": ("'-Infinity'", "-Infinity"),
    "big bigint": ("-9223372036854775808", "-9223372036854775808"),
    "instant timestamptz": ("'2025-06-01 12:00:00.000001+09'", "2025-06-01T03:00:00.000001+00:00"),
    "never timestamptz": ("'infinity'", "infinity"),
    "local_time timestamp": ("'2025-06-01 12:00:00.123456'", "2025-06-01T12:00:00.123456"),
    "ancient date": ("'0044-03-15 BC'", "0044-03-15 BC"),
    "endless_date date": ("'-infinity'", "-infinity"),
    "clock timetz": ("'10:00:00.5+02'", "10:00:00.5+02"),
    "length interval": ("'1 year 2 months 3 days 04:05:06.7'", "1 year 2 mons 3 days 04:05:06.7"),
    "yes boolean": ("true", "true"),
    "object jsonb": ('\'{"b": 12345678901234567890, "a": [1.10, null]}\'', '{"a":[1.1,null],"b":12345678901234567890}'),
    "json_text json": ("'\"x\"'", "x"),
    "list text[]": ("array['a,\"b', null]", '["a,\\"b",null]'),
    "grid int[][]": ("array[[1, 2], [3, 4]]", "[[1,2],[3,4]]"),
    "bytes bytea": ("'\\x00ff'", "\\x00ff"),
    "uuid uuid": ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "address inet": ("'::1/64'", "::1/64"),
    "span int4range": ("'[1,5)'", "[1,5)"),
    "mood mood": ("'so ''so'''", "so 'so'"),
    "pair pair": ("row(1, 'x')", '{"a":1,"b":"x"}'),
    '"Mixed Case" text': ("'é\u0301'", "é\u0301"),
}
MARIADB = {
    "exact decimal(65, 30)": (
        "12345678901234567890.123456789012345678",
        "12345678901234567890.123456789012345678000000000000",
    ),
    "money decimal(12, 2)": ("1234567.80", "1234567.8"),
    "dbl double": ("0.1", "0.1"),
    "big bigint unsigned": ("18446744073709551615", "18446744073709551615"),
    "instant timestamp(6) null": ("'2025-06-01 12:00:00.000001'", "2025-06-01T12:00:00.000001+00:00"),
    "local_time datetime(6)": ("'2025-06-01 12:00:00.123456'", "2025-06-01T12:00:00.123456"),
    "zero_time datetime": ("'0000-00-00 00:00:00'", "0000-00-00 00:00:00"),
    "a_day date": ("'2025-06-01'", "2025-06-01"),
    "zero_day date": ("'0000-00-00'", "0000-00-00"),
    "length time(6)": ("'-100:00:01.5'", "-100:00:01.500000"),
    "a_year year": ("2025", "2025"),
    "yes boolean": ("true", "1"),
    "object json": ('\'{"b": 12345678901234567890, "a": [1.10, null]}\'', '{"a":[1.1,null],"b":12345678901234567890}'),
    "bytes blob": ("x'00ff'", "\\x00ff"),
    "fixed binary(2)": ("x'00ff'", "\\x00ff"),
    "bits bit(9)": ("b'100000001'", "\\x0101"),
    "uuid_value uuid": ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "address inet6": ("'::1'", "::1"),
    "mood enum('so ''so''', 'x')": ("'so ''so'''", "so 'so'"),
    "many set('a', 'b')": ("'a,b'", "a,b"),
    "`Mixed Case` longtext": ("'é\u0301'", "é\u0301"),
    "`100%` varchar(9)": ("'100%'", "100%"),
}


def test_every_type_keeps_its_value(home: Home, shop: Shop, followed: Followed) -> None:
    cases = {"postgres": POSTGRES, "mariadb": MARIADB}[shop.kind]
    if shop.kind == "postgres":
        shop.run(
            "drop type if exists mood, pair",
            "create type mood as enum ('so ''so''')",
            "create type pair as (a int, b text)",
        )
    literals = ", ".join(literal.replace("%", "%%") for literal, _ in cases.values())
    with shop.engine.begin() as connection:
        if shop.kind == "mariadb":
            connection.exec_driver_sql("set session sql_mode = ''")
        columns = ", ".join(cases).replace("%", "%%")
        connection.exec_driver_sql(f"create table sales.orders ({columns}, seq int)")
        connection.exec_driver_sql(f"insert into sales.orders values ({literals}, 1)")
    (report,) = pull(home, [followed(cursor="seq", overlap=0)], now=NOW)
    assert (report.error, report.accepted) == ("", 1)
    expected = {}
    for column, (_, text) in cases.items():
        quoted = column[0] in '"`'
        expected[column[1:].split(column[0])[0] if quoted else column.split()[0]] = text
    names = ", ".join(f'"{name}"' for name in expected)
    (row,) = queried(home, f"select {names} from raw_shop.orders")
    found = dict(zip(expected, row, strict=True))
    assert found == expected
    # The same row is the same text, so it lands once.
    (again,) = pull(home, [followed(cursor="seq", overlap=0)], now=NOW)
    assert (again.accepted, again.duplicates) == (0, 1)


def test_postgres_is_reached_by_each_kind_of_address(
    home: Home, postgres: Shop, server: Server, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.create()
    postgres.insert((1, "a", None, at("2025-06-01")))
    for address in (server.dsn, server.url, server.url.replace("+psycopg", "")):
        monkeypatch.setenv("SHOP_URL", address)
        (report,) = pull(home, [followed()], now=NOW)
        assert (report.error, report.rows) == ("", 1)


def test_any_other_database_of_sqlalchemy_is_read(
    home: Home, followed: Followed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite stands for dialects that this house does not know by name."""
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("create table orders (id integer, detail json, received_at datetime)")
        rows = [(1, '{"a": 1}', "2025-06-01 10:00:00.000000"), (2, None, "2025-06-01 12:00:00.000000")]
        connection.executemany("insert into orders values (?, ?, ?)", rows)
    monkeypatch.setenv("SHOP_URL", f"sqlite:///{tmp_path / 'shop.db'}")
    orders = followed(table="orders", overlap="30 minutes")
    assert [pull(home, [orders], now=NOW)[0].rows for _ in range(2)] == [2, 1]
    rows = queried(home, "select id, detail, received_at from raw_shop.orders order by id")
    assert [(row[0], json.loads(row[1] or "0"), row[2]) for row in rows] == [
        ("1", {"a": 1}, "2025-06-01 10:00:00.000000"),
        ("2", 0, "2025-06-01 12:00:00.000000"),
    ]
