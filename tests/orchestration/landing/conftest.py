"""Declarations of pulls, and a real Postgres and a real MariaDB for them, each made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from orchestration.landing.declared import Pull, declared_pulls
from tests.mariadb import MariaServer, running_mariadb
from tests.postgres import Server, running_server

INSTANT = sa.TIMESTAMP(timezone=True).with_variant(mysql.TIMESTAMP(fsp=6), "mysql", "mariadb")
ORDERS: dict[str, Any] = {
    "id": sa.Integer,
    "plan": sa.String(99),
    "detail": sa.JSON(none_as_null=True),
    "received_at": INSTANT,
}


def one_pull(declared: dict[str, Any], *, source: str = "shop", table: str = "orders") -> Pull:
    """A pull as the manifest declares it."""
    node = {
        "identifier": table,
        "schema": "raw" if source == "raw" else f"raw_{source}",
        "original_file_path": f"models/staging/{source}/_{source}.yml",
        "config": {"meta": {"pull": declared}},
    }
    return declared_pulls({"sources": {"source.shop": node}})[0]


@dataclass
class Shop:
    """An empty schema ``sales`` in a server, for tests that any database passes.

    Attributes:
        kind: ``postgres`` or ``mariadb``.
        address: what SHOP_URL holds.
        engine: connects as one who may write.

    """

    kind: str
    address: str
    engine: sa.Engine
    tables: dict[str, sa.Table] = field(default_factory=dict)

    def create(self, name: str = "orders", **columns: Any) -> None:
        """Makes a table; by default that of the orders."""
        table = sa.Table(
            name,
            sa.MetaData(schema="sales"),
            *(sa.Column(column, kind, nullable=True) for column, kind in (columns or ORDERS).items()),
        )
        table.create(self.engine)
        self.tables[name] = table

    def insert(self, *rows: tuple[Any, ...], table: str = "orders") -> None:
        """Adds rows."""
        names = [column.name for column in self.tables[table].columns]
        with self.engine.begin() as connection:
            connection.execute(self.tables[table].insert(), [dict(zip(names, row, strict=True)) for row in rows])

    def run(self, *statements: str) -> None:
        """Runs SQL that both servers read."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)


def at(text: str) -> datetime:
    """An instant from ``2025-06-01 10:00`` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as made:
        yield made


@pytest.fixture(scope="session")
def maria_server() -> Iterator[MariaServer]:
    with running_mariadb() as made:
        yield made


@pytest.fixture
def postgres(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Postgres with an empty schema, its connection string in SHOP_URL."""
    server.execute("drop schema if exists sales cascade", "create schema sales")
    monkeypatch.setenv("SHOP_URL", server.dsn)
    engine = sa.create_engine(server.owner_url)
    yield Shop("postgres", server.dsn, engine)
    engine.dispose()


@pytest.fixture
def mariadb(maria_server: MariaServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """MariaDB with an empty database, its URL in SHOP_URL."""
    maria_server.execute("drop database sales", "create database sales character set utf8mb4")
    monkeypatch.setenv("SHOP_URL", maria_server.url)
    engine = sa.create_engine(maria_server.owner_url)
    yield Shop("mariadb", maria_server.url, engine)
    engine.dispose()


@pytest.fixture(params=["postgres", pytest.param("mariadb", marks=pytest.mark.long)])
def shop(request: pytest.FixtureRequest) -> Shop:
    """Each server in turn."""
    made: Shop = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def followed() -> Callable[..., Pull]:
    """A pull of ``sales.orders`` by ``received_at``."""

    def declare(source: str = "shop", **fields: Any) -> Pull:
        options = {key: fields.pop(key) for key in ("map", "source_name") if key in fields}
        if "source_name" in options:
            options["source"] = options.pop("source_name")
        table = {"url_env": "SHOP_URL", "table": "sales.orders", "cursor": "received_at"} | fields
        return one_pull({"database": table} | options, source=source, table="events" if source == "raw" else "orders")

    return declare
