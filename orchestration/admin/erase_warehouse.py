"""Erases a data subject from a DuckDB file, so that no bytes of the deleted rows are left in it.

What happens to a table depends on its columns alone, so a table that is added later needs no change here. What dbt
makes is dropped as a whole: it holds people under numbers, and the next refresh makes it again from raw.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from orchestration.admin.subject import Subject
from orchestration.landing.contract import RAW_TABLES
from orchestration.landing.mentions import ID_NAME, is_word, mentioned, redact, sql_pattern
from orchestration.landing.tombstones import PERSON_FIELDS, add_tombstones

# Tables whose names have one of these words hold samples of rows: a row that mentions an id is deleted.
SAMPLES = ("rejected", "quarantined", "failed", "sample")
ENTITY_COLUMNS = {"user": (*PERSON_FIELDS, "entity_id"), "account": ("account_id", "entity_id")}


def erase(
    connection: duckdb.DuckDBPyConnection, subject: Subject, derived: Collection[str], now: datetime
) -> dict[str, int]:
    """Erases a subject from a warehouse in one transaction, tombstones included; returns deleted rows by table.

    Args:
        connection: the warehouse.
        subject: whom.
        derived: schemas that dbt makes; they are dropped, and the next refresh rebuilds everything.
        now: time of the tombstones, naive UTC.

    """
    connection.execute(RAW_TABLES)
    connection.execute("begin")
    salt = secrets.token_hex(16)
    add_tombstones(connection, subject.entity_type, subject.ids, salt, now)
    add_tombstones(connection, "event", subject.events, salt, now)
    add_tombstones(connection, "text", [entity_id.lower() for entity_id in subject.ids], salt, now)
    _drop_derived(connection, derived)
    deleted = erase_rows(connection, subject)
    connection.execute("commit")
    return deleted


def erase_rows(connection: duckdb.DuckDBPyConnection, subject: Subject) -> dict[str, int]:
    """Deletes a subject's rows in every table and redacts the ids in the others; returns deleted rows by table."""
    deleted = {}
    tables = connection.execute(
        "select schema_name, table_name from duckdb_tables() where not internal and not temporary order by all"
    ).fetchall()
    for schema, table in tables:
        relation = f"{_quoted(schema)}.{_quoted(table)}"
        columns = [(name, kind) for name, kind, *_ in connection.execute(f"describe {relation}").fetchall()]
        texts = [name for name, kind in columns if kind == "VARCHAR"]
        condition = is_theirs(schema, table, relation, texts, subject, connection)
        # Lists, structs and JSON values may hold an id anywhere.
        nested = [name for name, kind in columns if kind == "JSON" or kind.endswith("[]") or kind.startswith("STRUCT")]
        if condition.sql:
            row = connection.execute(f"delete from {relation} where {condition.sql}", condition.given).fetchone()
            if row and row[0]:
                deleted[f"{schema}.{table}"] = int(row[0])
        keys = {*ENTITY_COLUMNS["user"], *ENTITY_COLUMNS["account"], "event_id", "session_id", "id_hash"}
        redact(connection, relation, [_quoted(name) for name in texts if name not in keys], subject.texts)
        for name in nested:
            _clear_nested(connection, relation, _quoted(name), subject)
    return deleted


def rewrite(path: Path) -> None:
    """Copies a DuckDB file and puts the copy in its place: the bytes of deleted rows stay behind in the old file."""
    fresh = path.with_name(f".{path.name}.rewritten")
    for leftover in (fresh, fresh.with_name(f"{fresh.name}.wal")):
        leftover.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(path)) as connection:
            connection.execute("checkpoint")
            (name,) = connection.execute("select current_database()").fetchone() or ("",)
            literal = str(fresh).replace("'", "''")
            connection.execute(f"attach '{literal}' as rewritten")
            connection.execute(f"copy from database {_quoted(name)} to rewritten")
            connection.execute("detach rewritten")
        fresh.replace(path)
    finally:
        for draft in (fresh, fresh.with_name(f"{fresh.name}.wal")):
            draft.unlink(missing_ok=True)
    shutil.rmtree(path.with_name(f"{path.name}.tmp"), ignore_errors=True)


def _drop_derived(connection: duckdb.DuckDBPyConnection, derived: Collection[str]) -> None:
    schemas = connection.execute("select distinct schema_name from duckdb_schemas() where not internal").fetchall()
    for (schema,) in schemas:
        if schema in derived or schema.startswith("replay_"):
            connection.execute(f"drop schema {_quoted(schema)} cascade")
    # Without a watermark the next refresh rebuilds everything. Verdicts and results are of tables that are gone.
    for table in ("watermark", "gate_verdicts", "node_results"):
        exists = "select 1 from duckdb_tables() where schema_name = 'state' and table_name = $1"
        if connection.execute(exists, [table]).fetchone():
            connection.execute(f"delete from state.{table}")


class RowCondition(NamedTuple):
    """SQL, empty where it holds for no row, and its parameters."""

    sql: str
    given: dict[str, object]


def is_theirs(
    schema: str, table: str, relation: str, texts: list[str], subject: Subject, connection: duckdb.DuckDBPyConnection
) -> RowCondition:
    """The rows that are a subject's; no condition for a table that cannot have any."""
    if schema.startswith("raw_"):
        named = texts
    else:
        named = [name for name in texts if name in ENTITY_COLUMNS[subject.entity_type]]
    is_vendors = schema.startswith("raw_")
    # In a vendor's table, what may as well be a number or another word is an id only under the name of one.
    conditions = [
        f"list_contains($ids, trim({_quoted(name)}))"
        if not is_vendors or re.fullmatch(ID_NAME, name)
        else f"list_contains($words, trim({_quoted(name)}))"
        for name in named
    ]
    if "entity_type" in texts and "entity_id" in named:
        conditions = [
            f"({condition} and entity_type = $entity)" if "entity_id" in condition else condition
            for condition in conditions
        ]
    if (schema, table) == ("raw", "events"):
        conditions.append("list_contains($events, event_id)")
    given: dict[str, object] = {
        "ids": list(subject.ids),
        "words": [entity_id for entity_id in subject.ids if is_word(entity_id)],
        "entity": subject.entity_type,
        "events": list(subject.events),
    }
    if any(word in table for word in SAMPLES):
        for number, name in enumerate(texts):
            if pattern := sql_pattern(mentioned(connection, relation, _quoted(name), subject.texts)):
                conditions.append(f"regexp_matches({_quoted(name)}, $mentions{number}_)")
                given[f"mentions{number}_"] = pattern
    sql = " or ".join(f"coalesce({condition}, false)" for condition in conditions)
    return RowCondition(sql, {name: value for name, value in given.items() if f"${name}" in sql})


def _clear_nested(connection: duckdb.DuckDBPyConnection, relation: str, column: str, subject: Subject) -> None:
    """Sets a list, a JSON value or a struct that mentions an id to null."""
    if pattern := sql_pattern(mentioned(connection, relation, column, subject.texts)):
        connection.execute(
            f"update {relation} set {column} = null where regexp_matches(cast({column} as varchar), $pattern)",
            {"pattern": pattern},
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
