"""The batch: records wait in the temporary table ``landing`` of a connection until they are judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import duckdb
from arro3.core import Array, DataType, Table

from orchestration.home import Notify
from orchestration.landing.records import RawRecord

# A batch is full at either.
BATCH_ROWS, BATCH_CHARACTERS = 50_000, 32_000_000


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
    for batch in _batches(records):
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


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """A transaction: all of it is kept, or nothing."""
    connection.execute("begin")
    try:
        yield
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def _batches(records: Iterable[RawRecord]) -> Iterator[list[RawRecord]]:
    batch: list[RawRecord] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.raw)
        if len(batch) == BATCH_ROWS or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _insert(connection: duckdb.DuckDBPyConnection, origin: str, batch: Sequence[RawRecord]) -> None:
    def text(values: list[str | None]) -> Array:
        return Array(values, DataType.large_string())

    table = Table.from_pydict(
        {
            "file": text([origin] * len(batch)),
            "record_number": Array([record.number for record in batch], DataType.int64()),
            "raw_text": text([record.raw for record in batch]),
            "row_json": text([record.row for record in batch]),
            "error": text([record.error for record in batch]),
        }
    )
    connection.register("batch", table)
    connection.execute("insert into landing select * from batch")
    connection.unregister("batch")
