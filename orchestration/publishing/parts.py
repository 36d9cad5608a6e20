"""Published tables as Parquet: a folder a table, read with one glob, whose unchanged parts are shared between builds.

Which part a row lies in follows from the row:

- the trait, in trait_values; a trait, or another table, of few rows is one part;
- of more rows, the span of builds in which it changed last (a ledger's row: was written). So what has not changed for
  long lies together and is left alone, while what changes often moves on to younger parts. The older a span, the longer
  it is, so that there are few, and a row is written again only as often as its span becomes part of a longer one;
- where a span has many rows of entities, a hash of the entity: one row that leaves makes one part new, not the span.

A part is named after its rows and columns. One of the same name in the served snapshot becomes a second name of that
file and is not written, if its bytes still are what its manifest says: a part that was harmed is written anew.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestration.publishing.tables import WIDE_TABLES

# About half a megabyte to a few, so that a changed row costs little, and files stay few.
ROWS_A_PART = 65_536
# How many spans of one length may stand before they become one: at most BASE - 1 of each length.
BASE = 4


@dataclass(frozen=True)
class Grouping:
    """What decides in which part the rows of a table lie; SQL, the table being t.

    Attributes:
        source: the table, and what is joined to it.
        name: first part of the file's name.
        number: number of the build in which a row changed last.
        entity: whose it is; null when the rows of a span always are one part.

    """

    source: str
    name: str
    number: str
    entity: str | None


@dataclass(frozen=True)
class Part:
    """Rows of a table that lie in one file: those of a name, a span of builds (both ends in it) and a bucket."""

    name: str
    first: int
    last: int
    buckets: int
    bucket: int = 0

    def condition(self, grouping: Grouping) -> str:
        """SQL that tells its rows."""
        within = f"{grouping.name} = {_text(self.name)} and {grouping.number} between {self.first} and {self.last}"
        return f"{within} and hash({grouping.entity}) % {self.buckets} = {self.bucket}" if self.buckets > 1 else within


def write_parts(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    table: str,
    folder: Path,
    served: tuple[Path, Mapping[str, str]],
    most: int = ROWS_A_PART,
) -> dict[str, str]:
    """Writes a table as parts, or links those that are served; returns the SHA-256 of each by its path in the folder.

    Args:
        connection: where the table is.
        schema: of the table; that of wide tables has trait_values too.
        table: which.
        folder: of the snapshot that is written; gets a folder of the table's name.
        served: folder of the served snapshot, and what its manifest says of its parts.
        most: rows that a part has before it is divided.

    """
    (folder / table).mkdir()
    grouping = _grouping(connection, schema, table)
    columns = connection.execute(f"describe {schema}.{table}").fetchall()
    hashes = {}
    for part, rows, total in _parts(connection, grouping, most):
        digest = hashlib.sha256(f"{columns} {rows} {total}".encode()).hexdigest()[:20]
        path = f"{table}/{part.name if part else table}-{digest}.parquet"
        said = served[1].get(path)
        if said is not None and _hash(served[0] / path) == said:
            os.link(served[0] / path, folder / path)
            hashes[path] = said
            continue
        condition = part.condition(grouping) if part else "false"
        connection.execute(
            f"copy (select t.* from {grouping.source} where {condition}) to {_text(str(folder / path))}"
            " (format parquet, compression zstd)"
        )
        hashes[path] = _hash(folder / path, to_disk=True)
    return hashes


def spans(newest: int) -> list[tuple[int, int]]:
    """Spans of build numbers, both ends in them, that cover 0 to the newest: the digits of how many there are."""
    length, found, first = 1, [], 0
    while length * BASE <= newest + 1:
        length *= BASE
    while first <= newest:
        while first + length > newest + 1:
            length //= BASE
        found.append((first, first + length - 1))
        first += length
    return found


def _grouping(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> Grouping:
    source, name, build, entity = f"{schema}.{table} as t", _text(table), "t.build_id", None
    kinds = {wide: kind for kind, wide in WIDE_TABLES.items()}
    if table == "trait_values":
        name, entity = "t.trait", "t.entity_id"
    elif table in kinds:
        build, entity = "c.build_id", f"t.{kinds[table]}_id"
        connection.execute(
            f"""
            create or replace temp table changed_last as
            select entity_id, max(build_id) as build_id
            from {schema}.trait_values where entity_type = '{kinds[table]}' group by entity_id
            """
        )
        source += f" left join changed_last as c on {entity} = c.entity_id"
    elif not _has_column(connection, schema, table, "build_id"):
        build = "null"
    # A backfilled day has no number; it belongs to the oldest.
    number = f"coalesce(try_cast(split_part({build}, '-', 1) as bigint), 0)"
    return Grouping(source, name, number, entity)


def _has_column(connection: duckdb.DuckDBPyConnection, schema: str, table: str, column: str) -> bool:
    return column in {row[0] for row in connection.execute(f"describe {schema}.{table}").fetchall()}


def _parts(
    connection: duckdb.DuckDBPyConnection, grouping: Grouping, most: int
) -> Iterator[tuple[Part | None, int, Any]]:
    """Each part with how many rows it has and the sum of their hashes; of an empty table one that is no part."""
    counted: dict[str, Counter[int]] = {}
    for name, number, rows in connection.execute(
        f"select {grouping.name}, {grouping.number}, count(*) from {grouping.source} group by all"
    ).fetchall():
        counted.setdefault(name, Counter())[number] = rows
    planned = []
    for name, by_number in counted.items():
        newest = max(by_number)
        for first, last in spans(newest) if by_number.total() > most else [(0, newest)]:
            rows = sum(by_number[number] for number in range(first, last + 1))
            # A power of two, so that a bucket stays as it is while the rows become somewhat fewer.
            buckets = 1 << ((rows - 1) // most).bit_length() if grouping.entity and rows else 1
            planned.append(f"({_text(name)}, {first}, {last}, {buckets})")
    if not planned:
        yield None, 0, 0
        return
    found = connection.execute(
        f"""
        with keyed as (
            select
                {grouping.name} as name, {grouping.number} as number, hash({grouping.entity or "null"}) as entity,
                hash(t) as content
            from {grouping.source}
        )
        select p.name, p.first, p.last, p.buckets, k.entity % p.buckets as bucket, count(*), sum(k.content)
        from keyed as k
        inner join (values {", ".join(planned)}) as p (name, first, last, buckets)
            on k.name = p.name and k.number between p.first and p.last
        group by all
        order by all
        """
    ).fetchall()
    for *part, rows, total in found:
        yield Part(*part), rows, total


def _hash(path: Path, *, to_disk: bool = False) -> str:
    """SHA-256 of a file, nothing if there is none; before the snapshot is served the disk itself should have it."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        if to_disk:
            os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _text(value: str) -> str:
    """A literal of SQL."""
    return "'" + value.replace("'", "''") + "'"
