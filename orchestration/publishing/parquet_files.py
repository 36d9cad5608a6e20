"""Published tables as Parquet: a folder for each table, read with one glob, whose unchanged files builds share.

Which file a row lies in follows from the row:

- the trait, in trait_values. A trait, or another table, of few rows is one file;
- where there are more rows, the span of builds in which the row last changed (a row of the ledger: was written). So
  rows that have not changed for long lie together in files that stay, and rows that change often move on to younger
  files. Older spans are longer, so there are few, and a row is written again only when its span becomes part of a
  longer span;
- where a span has many rows of entities, a hash of the entity: a row that leaves changes one file, not the whole span.

A file is named after its rows and columns. When the served snapshot has a file of the same name, that file gets a
second name (a hard link) and is not written again, if its bytes are still those that the manifest names. A damaged file
is written again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from orchestration.published.file_hash import file_hash
from orchestration.published.rows import fetch_rows
from orchestration.published.tables import WIDE_TABLES

# About as many as a row group of DuckDB holds.
ROWS_A_FILE = 131_072
# As many spans of one length as this become one span; there are always fewer of a length.
BASE = 4
# DuckDB writes a hundred files at a time by default; past that it closes a file and continues it in a second one.
FILES_AT_ONCE = 100
_FORMAT = "format parquet, compression zstd"


@dataclass(frozen=True)
class ServedFiles:
    """The files of the snapshot that is served.

    Attributes:
        folder: of the snapshot.
        hashes: SHA-256 of each file by its path in the folder, as the manifest says.

    """

    folder: Path
    hashes: Mapping[str, str]


@dataclass(frozen=True)
class Grouping:
    """What decides in which file the rows of a table lie; each attribute is SQL, with the table as t.

    Attributes:
        source: the table, and what is joined to it.
        name: first part of the file's name.
        build: the build in which a row last changed; an empty text if that is not known.
        entity: the row's entity; null when a span is always one file.

    """

    source: str
    name: str
    build: str
    entity: str | None

    def placed_rows(self) -> str:
        """SQL of the table with the file that each row lies in: its name, first build and bucket."""
        bucket = f"hash({self.entity}) % f.buckets" if self.entity else "0"
        return f"""
            select t, f.name, f.first, {bucket} as bucket
            from {self.source}
            inner join file_of as f on {self.name} = f.name and {self.build} = f.build_id
        """


@dataclass(frozen=True)
class _File:
    """One file of a table.

    Attributes:
        name: first part of its name.
        first: number of the first build of its span.
        bucket: of the entities.
        path: in the folder of the snapshot.

    """

    name: str
    first: int
    bucket: int
    path: str


def write_parquet_files(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    table: str,
    folder: Path,
    served: ServedFiles,
    most: int = ROWS_A_FILE,
) -> dict[str, str]:
    """Writes a table as files, or links those that are served.

    Args:
        connection: where the table is.
        schema: of the table; the schema of wide tables must have trait_values as well.
        table: a table or view.
        folder: of the snapshot that is written; gets a folder with the name of the table.
        served: the snapshot that is served.
        most: rows that a file has before it is divided.

    Returns:
        The SHA-256 of each file by its path in the folder.

    """
    (folder / table).mkdir()
    columns = connection.execute(f"describe {schema}.{table}").fetchall()
    grouping = _grouping(connection, schema, table, {name for name, *_ in columns})
    _place(connection, grouping, most)
    found = fetch_rows(
        connection,
        f"""
        select name, first, bucket, count(*) as rows, sum(hash(t)) as total
        from ({grouping.placed_rows()}) group by name, first, bucket order by all
        """,
    )
    hashes: dict[str, str] = {}
    missing: list[_File] = []
    # An empty table is one file, too, because a glob that finds nothing is an error.
    for row in found or [{"name": table, "first": 0, "bucket": 0, "rows": 0, "total": 0}]:
        digest = hashlib.sha256(f"{columns} {row['rows']} {row['total']}".encode()).hexdigest()[:20]
        file = _File(row["name"], row["first"], row["bucket"], f"{table}/{row['name']}-{digest}.parquet")
        hashes[file.path] = served.hashes.get(file.path, "")
        if hashes[file.path] and file_hash(served.folder / file.path) == hashes[file.path]:
            os.link(served.folder / file.path, folder / file.path)
        else:
            missing.append(file)
    if not found and missing:
        path = _text(str(folder / missing[0].path))
        connection.execute(f"copy (from {schema}.{table} limit 0) to {path} ({_FORMAT})")
    for start in range(0, len(missing) if found else 0, FILES_AT_ONCE):
        _write(connection, grouping, missing[start : start + FILES_AT_ONCE], folder)
    return hashes | {file.path: file_hash(folder / file.path, to_disk=True) for file in missing}


def spans(newest: int) -> list[tuple[int, int]]:
    """Spans (first and last number, both included) that cover the build numbers from 0 to the newest.

    Their lengths are powers of ``BASE``: the digits of the number of builds.
    """
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


def _place(connection: duckdb.DuckDBPyConnection, grouping: Grouping, most: int) -> None:
    """Makes the table file_of: for each name and build, the span that it is in and the span's number of buckets."""
    # A backfilled day has no number and belongs to the oldest span.
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
        for name, is_large, newest in names
        for first, last in (spans(newest) if is_large else [(0, newest)])
    ]
    # The number of buckets is a power of two, so it stays the same while rows become a little fewer.
    connection.execute(
        f"""
        create or replace temp table file_of as
        select
            c.name, c.build_id, s.first,
            cast(pow(2, greatest(0, ceil(log2(sum(c.rows) over (partition by c.name, s.first) / {most})))) as ubigint)
                as buckets
        from counted as c
        inner join (values {", ".join(planned) or "('', 0, -1)"}) as s (name, first, last)
            on c.name = s.name and c.number between s.first and s.last
        """
    )


def _write(connection: duckdb.DuckDBPyConnection, grouping: Grouping, files: Sequence[_File], folder: Path) -> None:
    """Writes some files in one pass over the table."""
    drafts = folder / "drafts"
    listed = ", ".join(
        f"({place}, {_text(file.name)}, {file.first}, {file.bucket})" for place, file in enumerate(files)
    )
    connection.execute(
        f"""
        copy (
            select unnest(k.t), w._place
            from ({grouping.placed_rows()}) as k
            inner join (values {listed}) as w (_place, name, first, bucket)
                on k.name = w.name and k.first = w.first and k.bucket = w.bucket
        ) to {_text(str(drafts))} ({_FORMAT}, partition_by (_place))
        """
    )
    for place, file in enumerate(files):
        (draft,) = (drafts / f"_place={place}").iterdir()
        draft.rename(folder / file.path)
    shutil.rmtree(drafts)


def _text(value: str) -> str:
    """A literal of SQL."""
    return "'" + value.replace("'", "''") + "'"
