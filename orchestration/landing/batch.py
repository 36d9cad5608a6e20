"""The batch: records wait in the temporary table ``landing`` of a connection until they are judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import duckdb
import pandas as pd

from orchestration.home import Notify
from orchestration.landing.records import RawRecord

BATCH_ROWS = 50_000


def open_batch(connection: duckdb.DuckDBPyConnection) -> None:
    """Creates an empty batch. Grain: one row a record. Column ``file`` says where the record comes from."""
    connection.execute(
        "create or replace temp table landing"
        " (file varchar, record_number bigint, raw_text varchar, row_json json, error varchar)"
    )


def fill_batch(
    connection: duckdb.DuckDBPyConnection, origin: str, records: Iterable[RawRecord], name: str, notify: Notify
) -> int:
    """Adds the records of one origin and returns their number; messages about progress call it ``name``."""
    count = 0
    remaining = iter(records)
    while batch := list(islice(remaining, BATCH_ROWS)):
        _insert(connection, origin, batch)
        count += len(batch)
        notify(f"reading {name}: {count:,} rows")
    return count


def drop_origin(connection: duckdb.DuckDBPyConnection, origin: str) -> None:
    """Removes the records of one origin again, because it could not be read to its end."""
    connection.execute("delete from landing where file = $1", [origin])


def batch_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    """Columns that at least one record has, in the order of their names: each with all its spellings.

    Spellings of one column differ in case only; it is called after the first.
    """
    found = connection.execute(
        "select distinct unnest(json_keys(row_json)) as name from landing where error is null order by name"
    ).fetchall()
    columns: dict[str, list[str]] = {}
    for (name,) in found:
        columns.setdefault(name.lower(), []).append(name)
    return {spellings[0]: spellings for spellings in columns.values()}


def _insert(connection: duckdb.DuckDBPyConnection, origin: str, batch: Sequence[RawRecord]) -> None:
    frame = pd.DataFrame(
        {
            "file": origin,
            "record_number": [record.number for record in batch],
            "raw_text": pd.Series([record.raw for record in batch], dtype=object),
            "row_json": pd.Series([record.row for record in batch], dtype=object),
            "error": pd.Series([record.error for record in batch], dtype=object),
        }
    )
    connection.register("batch", frame)
    connection.execute("insert into landing select * from batch")
    connection.unregister("batch")
