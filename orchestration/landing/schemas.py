"""Finds the tables of a declared schema at each pull, so that tables may appear there and vanish.

A table of the source reads the table of its name. Segment's ``track_properties`` reads every table that the vendor
keeps for an event, whichever there are; each is followed by a cursor of its own.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
from sqlalchemy.engine.reflection import ObjectKind

from orchestration.errors import UsageError
from orchestration.landing.database import connected, server_words
from orchestration.landing.declared import Pull, environment
from orchestration.landing.event_tables import CALLS, TABLE, is_event_table, repeated_table
from orchestration.landing.places import DatabaseTable

# What makes a table one of an event.
EVENT_COLUMNS = frozenset({"id", "event", "timestamp"})
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass
class FoundTables:
    """What a declaration comes to: pulls of single tables, and what is not read (table -> why)."""

    pulls: list[Pull]
    passed_over: dict[str, str] = field(default_factory=dict)


class Schemas:
    """The schemas of one run, each looked at once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], dict[str, frozenset[str]]] = {}

    def tables(self, pulled: Pull) -> FoundTables:
        """The tables that a declaration names.

        Raises:
            UsageError: the database cannot be reached, or the schema has no table.

        """
        declared = pulled.declared.rows
        if declared is None or not declared.schema_name:
            return FoundTables([pulled])
        where = f"{pulled.where}: pull.{pulled.declared.place}"
        key = (declared.address_env[0], declared.schema_name)
        if key not in self._seen:
            self._seen[key] = _columns_of(declared, where)
        found = self._seen[key]
        if pulled.table != TABLE or not is_event_table(pulled.source, TABLE):
            if pulled.table in found:
                return FoundTables([_single(pulled, declared, pulled.table)])
            return FoundTables([], {pulled.table: f"{declared.schema_name} has no such table"})
        passed_over = {
            name: reason
            for name, columns in found.items()
            if name not in CALLS and (reason := _why_not(pulled.source, name, columns))
        }
        names = [name for name in found if name not in CALLS and name not in passed_over]
        return FoundTables([_single(pulled, declared, name) for name in sorted(names)], passed_over)


def _why_not(source: str, table: str, columns: frozenset[str]) -> str:
    """Why a table is not one of an event; empty if it is."""
    if repeated := repeated_table(source, table):
        return f"it holds nothing that {repeated} does not hold"
    if missing := sorted(EVENT_COLUMNS - columns):
        return f"it is no table of an event: it has no column {missing[0]}"
    return "" if _NAME.fullmatch(table) else "its name has other characters than lower-case letters, digits and _"


def _single(pulled: Pull, declared: DatabaseTable, table: str) -> Pull:
    """The pull of one table of the schema."""
    single = declared.model_copy(update={"table": f"{declared.schema_name}.{table}", "schema_name": None})
    return replace(pulled, table=table, declared=pulled.declared.model_copy(update={pulled.declared.place: single}))


def _columns_of(declared: DatabaseTable, where: str) -> dict[str, frozenset[str]]:
    """Table or view of the schema -> its columns in lower case."""
    variable, name_of = declared.address_env
    address = environment(variable, f"{where}.{name_of}")
    failure, found = "", {}
    with connected(address, f"{where}.{name_of}", variable) as connection:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", sa.exc.SAWarning)
                found = sa.inspect(connection).get_multi_columns(schema=declared.schema_name, kind=ObjectKind.ANY)
        except sa.exc.SQLAlchemyError as error:
            failure = server_words(error, address)
    if failure:
        raise UsageError(
            f"{where}: schema {declared.schema_name} cannot be read: {failure}.", "Check the server, then pull again."
        )
    if not found:
        raise UsageError(
            f"{where}.schema: there is no schema {declared.schema_name} with tables.",
            "Check its name, and the rights of the user.",
        )
    return {
        str(table): frozenset(str(column["name"]).lower() for column in columns)
        for (_, table), columns in found.items()
    }
