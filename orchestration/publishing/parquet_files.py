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
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from orchestration.published.tables import WIDE_TABLES

# About as many as a row group of DuckDB holds.
ROWS_A_PART = 131_072
# As many spans of one length as this become one; fewer may stand beside each other.
BASE = 4
# DuckDB writes a hundred files at a time by default; past that it closes one, and goes on in a second one.
FILES_AT_ONCE = 100
_FORMAT = "format parquet, compression zstd"


@dataclass(frozen=True)
class Grouping:
    """What decides in which part the rows of a table lie; SQL, the table being t.

    Attributes:
        source: the table, and what is joined to it.
        name: first part of the file's name.
        build: in which a row changed last; an empty text if that is not known.
        entity: whose it is; null when the rows of a span always are one part.

    """

    source: str
    name: str
    build: str
    entity: str | None

    def parts(self) -> str:
        """SQL of the table with the part that each row lies in: name, span and bucket."""
        bucket = f"hash({self.entity}) % p.buckets" if self.entity else "0"
        return f"""
            select t, p.name, p.first, {bucket} as bucket
            from {self.source}
            inner join part_of as p on {self.name} = p.name and {self.build} = p.build_id
        """


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
    columns = connection.execute(f"describe {schema}.{table}").fetchall()
    grouping = _grouping(connection, schema, table, {name for name, *_ in columns})
    _plan(connection, grouping, most)
    found = connection.execute(
        f"select name, first, bucket, count(*), sum(hash(t)) from ({grouping.parts()}) group by all order by all"
    ).fetchall()
    hashes, missing = {}, []
    # An empty table is one part, too, for a glob that finds nothing is an error.
    for name, first, bucket, rows, total in found or [(table, 0, 0, 0, 0)]:
        digest = hashlib.sha256(f"{columns} {rows} {total}".encode()).hexdigest()[:20]
        path = f"{table}/{name}-{digest}.parquet"
        hashes[path] = served[1].get(path, "")
        if hashes[path] and _hash(served[0] / path) == hashes[path]:
            os.link(served[0] / path, folder / path)
        else:
            missing.append((name, first, bucket, path))
    if not found and missing:
        connection.execute(f"copy (from {schema}.{table} limit 0) to {_text(str(folder / missing[0][-1]))} ({_FORMAT})")
    for start in range(0, len(missing) if found else 0, FILES_AT_ONCE):
        _write(connection, grouping, missing[start : start + FILES_AT_ONCE], folder)
    return hashes | {path: _hash(folder / path, to_disk=True) for *_, path in missing}


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


def _grouping(connection: duckdb.DuckDBPyConnection, schema: str, table: str, columns: set[str]) -> Grouping:
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
    elif "build_id" not in columns:
        build = "null"
    return Grouping(source, name, f"coalesce({build}, '')", entity)


def _plan(connection: duckdb.DuckDBPyConnection, grouping: Grouping, most: int) -> None:
    """Makes the table part_of: to each name and build the span that it is in, and the buckets of that."""
    # A backfilled day has no number; it belongs to the oldest.
    connection.execute(
        f"""
        create or replace temp table counted as
        select
            {grouping.name} as name, {grouping.build} as build_id, count(*) as rows,
            coalesce(try_cast(split_part({grouping.build}, '-', 1) as bigint), 0) as number
        from {grouping.source}
        group by name, build_id
        """
    )
    names = connection.execute("select name, sum(rows) > $1, max(number) from counted group by name", [most]).fetchall()
    planned = [
        f"({_text(name)}, {first}, {last})"
        for name, many, newest in names
        for first, last in (spans(newest) if many else [(0, newest)])
    ]
    # Buckets are a power of two, so that they stay as they are while the rows become somewhat fewer.
    connection.execute(
        f"""
        create or replace temp table part_of as
        select
            c.name, c.build_id, s.first,
            cast(pow(2, greatest(0, ceil(log2(sum(c.rows) over (partition by c.name, s.first) / {most})))) as ubigint)
                as buckets
        from counted as c
        inner join (values {", ".join(planned) or "('', 0, -1)"}) as s (name, first, last)
            on c.name = s.name and c.number between s.first and s.last
        """
    )


def _write(
    connection: duckdb.DuckDBPyConnection,
    grouping: Grouping,
    parts: Sequence[tuple[str, int, int, str]],
    folder: Path,
) -> None:
    """Writes some parts in one go over the table; of each name, span and bucket to a path in the folder."""
    drafts = folder / "parts"
    listed = ", ".join(f"({n}, {_text(name)}, {first}, {bucket})" for n, (name, first, bucket, _) in enumerate(parts))
    connection.execute(
        f"""
        copy (
            select unnest(k.t), w._place
            from ({grouping.parts()}) as k
            inner join (values {listed}) as w (_place, name, first, bucket)
                on k.name = w.name and k.first = w.first and k.bucket = w.bucket
        ) to {_text(str(drafts))} ({_FORMAT}, partition_by (_place))
        """
    )
    for number, (*_, path) in enumerate(parts):
        (draft,) = (drafts / f"_place={number}").iterdir()
        draft.rename(folder / path)
    shutil.rmtree(drafts)


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
