"""A real Postgres, one server for all tests of a process; its table refuses whom a table of the poisoned names."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import psycopg
from psycopg.rows import dict_row

from tests.orchestration.destinations.standins import StandIn
from tests.postgres import Server, running_server

SCHEMA = (
    "drop schema if exists crm cascade",
    "create schema crm",
    "create table crm.poisoned (identifier text primary key)",
    "create table crm.people (user_id text primary key, build_id text, synced_at timestamptz)",
    """
    create function crm.refuse() returns trigger language plpgsql as $$
    begin
        if exists (select from crm.poisoned as p where p.identifier = new.user_id) then
            raise check_violation using message = 'this person may not be here';
        end if;
        return new;
    end $$
    """,
    "create trigger refuses before insert or update on crm.people for each row execute function crm.refuse()",
)


@cache
def server() -> Server:
    """Started when it is first needed, stopped when the process ends."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running_server())


class PostgresStandIn(StandIn):
    """The table is there; its columns are made as fields come."""

    name = "postgres"
    spared: ClassVar[Mapping[str, str]] = {"token": "a password does not expire"}

    @property  # type: ignore[override]
    def poisoned(self) -> set[str]:
        """Identifiers that the table refuses."""
        return {row["identifier"] for row in self.rows("select identifier from crm.poisoned")}

    @poisoned.setter
    def poisoned(self, identifiers: set[str]) -> None:
        if identifiers:
            listed = ", ".join(f"('{identifier}')" for identifier in sorted(identifiers))
            server().execute("truncate crm.poisoned", f"insert into crm.poisoned values {listed}")

    def declaration(self) -> dict[str, Any]:
        return {"destination": "postgres", "options": {"table": "crm.people", "create": True}}

    def environment(self) -> dict[str, str]:
        return {"POSTGRES_DSN": server().dsn}

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        server().execute(*SCHEMA)
        yield

    def state(self) -> dict[str, dict[str, Any]]:
        found = {}
        for row in self.rows("select * from crm.people"):
            identifier = row.pop("user_id")
            del row["build_id"], row["synced_at"]
            found[identifier] = {name: value for name, value in row.items() if value is not None}
        return found

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What a query gives."""
        with psycopg.connect(server().dsn, row_factory=dict_row) as connection:
            return connection.execute(query.encode()).fetchall()
