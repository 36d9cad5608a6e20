"""A person's rows leave a DuckDB file, and the bytes of what was deleted leave it with them.

A table is treated by its columns, so one that is added later needs nothing here. What dbt makes is dropped as a whole:
it holds people under numbers, and the next refresh makes it anew from raw.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.admin.subject import Person
from orchestration.landing.contract import RAW_TABLES
from orchestration.landing.tombstones import PERSON_FIELDS, add_tombstones, redact, sql_patterns

# Rows of samples are somebody's: a mention is enough for the whole row to go.
SAMPLES = ("rejected", "quarantined", "failed", "sample")
ENTITY_COLUMNS = {"user": (*PERSON_FIELDS, "entity_id"), "account": ("account_id", "entity_id")}


def erase(
    connection: duckdb.DuckDBPyConnection, person: Person, derived: Collection[str], now: datetime
) -> dict[str, int]:
    """Takes a person out of a warehouse in one transaction, tombstones included; returns deleted rows by table.

    Args:
        connection: the warehouse.
        person: whom.
        derived: schemas that dbt makes; they are dropped, and the next refresh rebuilds everything.
        now: when, naive UTC.

    """
    connection.execute(RAW_TABLES)
    connection.execute("begin")
    salt = secrets.token_hex(16)
    add_tombstones(connection, person.entity_type, person.ids, salt, now)
    add_tombstones(connection, "event", person.events, salt, now)
    _drop_derived(connection, derived)
    deleted = erase_rows(connection, person)
    connection.execute("commit")
    return deleted


def erase_rows(connection: duckdb.DuckDBPyConnection, person: Person) -> dict[str, int]:
    """Deletes a person's rows in every table, and blots the ids out of what is left; returns deleted rows by table."""
    deleted = {}
    tables = connection.execute(
        "select schema_name, table_name from duckdb_tables() where not internal and not temporary order by all"
    ).fetchall()
    for schema, table in tables:
        relation = f"{_quoted(schema)}.{_quoted(table)}"
        columns = [(name, kind) for name, kind, *_ in connection.execute(f"describe {relation}").fetchall()]
        texts = [name for name, kind in columns if kind == "VARCHAR"]
        condition = _is_theirs(schema, table, texts, person)
        # What is neither text nor number may hold anything.
        others = [n for n, kind in columns if kind == "JSON" or kind.endswith((")[]", "[]")) or kind[:6] in ("STRUCT",)]
        if condition:
            row = connection.execute(f"delete from {relation} where {condition}", _given(condition, person)).fetchone()
            if row and row[0]:
                deleted[f"{schema}.{table}"] = int(row[0])
        keys = {*ENTITY_COLUMNS["user"], *ENTITY_COLUMNS["account"], "event_id", "session_id", "id_hash"}
        redact(connection, relation, [_quoted(name) for name in texts if name not in keys], person.ids)
        for name in others:
            _clear_nested(connection, relation, _quoted(name), person)
    return deleted


def rewrite(path: Path) -> None:
    """Writes a DuckDB file anew and renames it into place: deleted rows leave their bytes in the old one."""
    fresh = path.with_name(f".{path.name}.rewritten")
    for leftover in (fresh, fresh.with_name(f"{fresh.name}.wal")):
        leftover.unlink(missing_ok=True)
    with duckdb.connect(str(path)) as connection:
        connection.execute("checkpoint")
        (name,) = connection.execute("select current_database()").fetchone() or ("",)
        literal = str(fresh).replace("'", "''")
        connection.execute(f"attach '{literal}' as rewritten")
        connection.execute(f"copy from database {_quoted(name)} to rewritten")
        connection.execute("detach rewritten")
    fresh.replace(path)
    shutil.rmtree(path.with_name(f"{path.name}.tmp"), ignore_errors=True)


def _drop_derived(connection: duckdb.DuckDBPyConnection, derived: Collection[str]) -> None:
    schemas = connection.execute("select distinct schema_name from duckdb_schemas() where not internal").fetchall()
    for (schema,) in schemas:
        if schema in derived or schema.startswith("replay_"):
            connection.execute(f"drop schema {_quoted(schema)} cascade")
    # Without a watermark the next refresh rebuilds everything; what was judged and built is no longer there.
    for table in ("watermark", "gate_verdicts", "node_results"):
        exists = "select 1 from duckdb_tables() where schema_name = 'state' and table_name = $1"
        if connection.execute(exists, [table]).fetchone():
            connection.execute(f"delete from state.{table}")


def _is_theirs(schema: str, table: str, texts: list[str], person: Person) -> str:
    """SQL of the rows that are a person's; empty where a table has none."""
    if schema.startswith("raw_"):
        named = texts
    else:
        named = [name for name in texts if name in ENTITY_COLUMNS[person.entity_type]]
    conditions = [f"list_contains($ids, trim({_quoted(name)}))" for name in named]
    if "entity_type" in texts and "entity_id" in named:
        conditions = [f"({one} and entity_type = $entity)" if "entity_id" in one else one for one in conditions]
    if (schema, table) == ("raw", "events"):
        conditions.append("list_contains($events, event_id)")
    if any(word in table for word in SAMPLES):
        words, strings = sql_patterns(person.ids)
        for pattern, parameter in ((words, "$words"), (strings, "$strings")):
            if pattern:
                conditions += [f"regexp_matches({_quoted(name)}, {parameter})" for name in texts]
    return " or ".join(f"coalesce({one}, false)" for one in conditions)


def _given(condition: str, person: Person) -> dict[str, object]:
    words, strings = sql_patterns(person.ids)
    given = {
        "ids": list(person.ids),
        "entity": person.entity_type,
        "events": list(person.events),
        "words": words,
        "strings": strings,
    }
    return {name: value for name, value in given.items() if f"${name}" in condition}


def _clear_nested(connection: duckdb.DuckDBPyConnection, relation: str, column: str, person: Person) -> None:
    """A list, a JSON value or a struct that mentions somebody is emptied."""
    for pattern in filter(None, sql_patterns(person.ids)):
        connection.execute(
            f"update {relation} set {column} = null where regexp_matches(cast({column} as varchar), $pattern)",
            {"pattern": pattern},
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
