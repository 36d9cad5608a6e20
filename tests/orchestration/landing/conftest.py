"""Declarations of pulls, and a real Postgres for them, made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestration.landing.declared import Pull, declared_pulls
from tests.postgres import Server, running_server


def one_pull(declared: dict[str, Any], *, source: str = "shop", table: str = "orders") -> Pull:
    """A pull as the manifest declares it."""
    node = {
        "identifier": table,
        "schema": "raw" if source == "raw" else f"raw_{source}",
        "original_file_path": f"models/staging/{source}/_{source}.yml",
        "config": {"meta": {"pull": declared}},
    }
    return declared_pulls({"sources": {"source.shop": node}})[0]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as made:
        yield made


@pytest.fixture
def postgres(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server without tables, its connection string in SHOP_DSN."""
    server.execute("drop schema if exists sales cascade", "create schema sales")
    monkeypatch.setenv("SHOP_DSN", server.dsn)
    return server


@pytest.fixture
def followed() -> Callable[..., Pull]:
    """A pull of ``sales.orders`` by ``received_at``."""

    def declare(source: str = "shop", **fields: Any) -> Pull:
        options = {key: fields.pop(key) for key in ("map", "source_name") if key in fields}
        if "source_name" in options:
            options["source"] = options.pop("source_name")
        table = {"dsn_env": "SHOP_DSN", "table": "sales.orders", "cursor": "received_at"} | fields
        return one_pull({"postgres": table} | options, source=source, table="events" if source == "raw" else "orders")

    return declare
