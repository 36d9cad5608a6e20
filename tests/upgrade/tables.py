"""Tables of two homes, frozen into a file each, and the rows in which they differ."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from tests.upgrade.renames import ONLY_ONE_HAS, column_now, compared, row_now, table_now

EXAMPLES = 3
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """What came of comparing a table.

    Attributes:
        scenario: what made the table.
        table: its name now.
        rows_before: in the other version.
        rows_after: in this version.
        differing: rows that only one side has; of a table that only one side has, its rows and one for itself.
        examples: some of them, in words.

    """

    scenario: str
    table: str
    rows_before: int
    rows_after: int
    differing: int
    examples: list[str] = field(default_factory=list)


def freeze_home(home: Path, target: Path, more: Mapping[str, Rows]) -> None:
    """Copies all tables and views of a home, what it serves and what it delivered, into one file."""
    target.unlink(missing_ok=True)
    _copy_tables(home / "warehouse.duckdb", target, schema=None)
    served = (home / "serving" / "current" / "traithouse.duckdb").resolve()
    if served.exists():
        _copy_tables(served, target, schema="served")
    ledger = {
        f"delivered.{path.stem.split('.')[0]}_{table}": rows
        for path in sorted(home.glob("sync_ledger*.sqlite"))
        for table, rows in _sqlite_rows(path).items()
    }
    freeze_rows(target, {"delivered.files": _delivered(home / "outbox"), **ledger, **more})


def _copy_tables(source: Path, target: Path, *, schema: str | None) -> None:
    with duckdb.connect(str(source)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        names = connection.execute(
            """
            select schema_name, table_name from duckdb_tables() where not temporary
            union all
            select schema_name, view_name from duckdb_views() where not internal and not temporary
            order by all
            """
        ).fetchall()
        connection.execute(f"attach '{target}' as frozen")
        for found, name in names:
            copied = f'frozen."{schema or found}"."{name}"'
            connection.execute(f'create schema if not exists frozen."{schema or found}"')
            connection.execute(f'create or replace table {copied} as from "{found}"."{name}"')


def freeze_rows(target: Path, tables: Mapping[str, Rows]) -> None:
    """Writes rows as tables; one without rows is left out."""
    with duckdb.connect(str(target)) as connection:
        for table, rows in tables.items():
            if rows:
                frame = pd.DataFrame(list(rows)).astype("string")
                connection.register("given", frame)
                connection.execute(f"create schema if not exists {table.split('.')[0]}")
                connection.execute(f"create table {table} as from given")
                connection.unregister("given")


def _sqlite_rows(path: Path) -> dict[str, Rows]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        connection.row_factory = sqlite3.Row
        return {name: [dict(row) for row in connection.execute(f"select * from {name}")] for name in names}


def _delivered(outbox: Path) -> Rows:
    """A row a line of a text file, or a row of a Parquet file."""
    rows = []
    for path in sorted(path for path in outbox.rglob("*") if path.is_file()):
        if path.suffix == ".parquet":
            lines = [json.dumps(row, default=str) for row in duckdb.read_parquet(str(path)).df().to_dict("records")]
        else:
            lines = path.read_text().splitlines()
        name = path.relative_to(outbox).as_posix()
        rows += [{"file": name, "line": number, "text": line} for number, line in enumerate(lines)]
    return rows


def compare_tables(
    scenario: str, before: Path, after: Path, *, schemas: Sequence[str] | None = None
) -> list[Difference]:
    """Compares all tables of two frozen files, by the names of now; ``schemas``: only these."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{before}' as before (read_only)")
        connection.execute(f"attach '{after}' as after (read_only)")
        sides = [_tables(connection, side, schemas) for side in ("before", "after")]
        return [
            _compare_table(connection, scenario, table, sides[0].get(table), sides[1].get(table))
            for table in sorted({*sides[0], *sides[1]} - set(ONLY_ONE_HAS))
        ]


@dataclass(frozen=True)
class _Side:
    """A table of one side: where it is, and its compared columns by their names now."""

    place: str
    columns: dict[str, str]
    types: dict[str, str]

    @property
    def query(self) -> str:
        listed = ", ".join(f'"{column}" as "{now}"' for now, column in sorted(self.columns.items()))
        return f"select {listed or '1'} from {self.place}"


def _tables(connection: duckdb.DuckDBPyConnection, database: str, schemas: Sequence[str] | None) -> dict[str, _Side]:
    columns = connection.execute(
        """
        select schema_name || '.' || table_name, column_name, data_type
        from duckdb_columns() where database_name = $1
        """,
        [database],
    ).fetchall()
    tables = {table for table, _, _ in columns}
    sides: dict[str, _Side] = {}
    for table, column, kind in columns:
        name = table_now(table, tables)
        if schemas and name.split(".")[0] not in schemas:
            continue
        side = sides.setdefault(name, _Side(f"{database}.{table}", {}, {}))
        now = column_now(name, column)
        if compared(now):
            side.columns[now] = column
            side.types[now] = kind
    return sides


def _compare_table(
    connection: duckdb.DuckDBPyConnection, scenario: str, table: str, before: _Side | None, after: _Side | None
) -> Difference:
    counts = [_count(connection, side) for side in (before, after)]
    if before is None or after is None:
        which = "before" if after is None else "after"
        return Difference(scenario, table, counts[0], counts[1], sum(counts) + 1, [f"there is only one {which}"])
    examples = [
        f"column {name}: {before.types.get(name, 'none')} before, {after.types.get(name, 'none')} after"
        for name in sorted({*before.types, *after.types})
        if before.types.get(name) != after.types.get(name)
    ]
    if examples:
        return Difference(scenario, table, counts[0], counts[1], max(*counts, 1), examples)
    # What is the same by the names of before need not be renamed.
    left = [_only_in(connection, before, after), _only_in(connection, after, before)]
    differing = 0
    for side, rows, others in (("before", left[0], left[1]), ("after", left[1], left[0])):
        lacking = rows - others
        differing += lacking.total()
        examples += [f"only {side}: {row}" for row in sorted(lacking)[:EXAMPLES]]
    return Difference(scenario, table, counts[0], counts[1], differing, examples)


def _count(connection: duckdb.DuckDBPyConnection, side: _Side | None) -> int:
    if side is None:
        return 0
    row = connection.execute(f"select count(*) from {side.place}").fetchone()
    return row[0] if row else 0


def _only_in(connection: duckdb.DuckDBPyConnection, side: _Side, other: _Side) -> Counter[tuple[str, ...]]:
    cursor = connection.execute(f"({side.query}) except all ({other.query})")
    names = [column[0] for column in cursor.description or ()]
    return Counter(row_now(dict(zip(names, row, strict=True))) for row in cursor.fetchall())
