"""Erases a data subject from the other files of a home: outbox, inbox, logs, Data Docs, Dagster's state and the rest.

- CSV, NDJSON and Parquet, also compressed, are written again without the rows in which a value is one of the ids. In
  longer texts of other rows the id is redacted (in Parquet such a row is deleted).
- SQLite and other text files are kept, and the ids in them are redacted. A DuckDB file loses the subject's rows.
- Any other file that holds an id, an archive for example, is deleted.
- A file that cannot be looked into (encrypted, damaged) stays, and is named.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
from backports import zstd

from orchestration.admin.erase_warehouse import erase_rows, rewrite
from orchestration.admin.search_files import COMPRESSED, PARQUET, SQLITE, FileSearch, UnsearchableError
from orchestration.admin.subject import Subject
from orchestration.errors import UsageError
from orchestration.landing.mentions import ID_NAME, is_word
from orchestration.landing.readers import file_kind, read_header, read_records


def scrub_files(root: Path, subject: Subject, leave: Callable[[Path], bool]) -> dict[str, str]:
    """Goes through every file below a folder; returns what was done, by path.

    That is rewritten, renamed, deleted, or ``not searched`` with the reason: such a file is for a person to look into.

    Args:
        root: the folder.
        subject: whose ids are erased.
        leave: says which files are left alone, because another step erases them.

    """
    search = FileSearch(subject)
    done = {}
    for path in sorted(path for path in root.rglob("*") if path.is_symlink() or path.is_file()):
        if leave(path):
            continue
        named = _renamed(path, search)
        is_derived = path.relative_to(root).parts[0] == "dbt"
        action = "" if named.is_symlink() else _scrub_file(named, search, is_derived=is_derived)
        action = action or ("renamed" if named != path else "")
        if action:
            done[str(named.relative_to(root))] = action
    folders = [path for path in root.rglob("*") if path.is_dir() and not path.is_symlink() and not leave(path)]
    for folder in sorted(folders, reverse=True):  # what is within a folder first
        # The home itself names its folders; whoever is forgotten may be called like one of them.
        named = folder if folder.parent == root else _renamed(folder, search)
        if named != folder:
            done[str(named.relative_to(root))] = "renamed"
    return done


def _renamed(path: Path, search: FileSearch) -> Path:
    """Redacts ids in the name of a file or folder; what already has that name stays, and a number is added."""
    name = search.redacted_name(os.fsencode(path.name))
    if name == os.fsencode(path.name):
        return path
    named = path.with_name(os.fsdecode(name))
    for number in count(2):
        if not named.exists():
            break
        named = path.with_name(f"{number}-{os.fsdecode(name)}")
    path.rename(named)
    return named


def _scrub_file(path: Path, search: FileSearch, *, is_derived: bool) -> str:
    head = _head(path)
    try:
        if head.startswith(SQLITE):
            return "rewritten" if redact_sqlite(path, search) else ""
        if head[8:12] == b"DUCK":
            with duckdb.connect(str(path)) as connection:
                erase_rows(connection, search.subject)
            rewrite(path)
            return "rewritten"
        if head.startswith(PARQUET):
            return _scrub_parquet(path, search)
    except (sqlite3.Error, duckdb.Error):
        return "not searched: it is a database or a Parquet file, and damaged"
    try:
        kind = file_kind(path)
    except UsageError:
        kind = ""
    # A short id cannot be told from other bytes, so it is looked for among the values.
    by_value = kind in ("csv", "json") and not all(map(is_word, search.subject.ids))
    try:
        if not search.is_in_file(path) and not by_value:
            return ""
    except UnsearchableError as error:
        return f"not searched: {error}"
    try:
        if is_derived:
            raise UnsearchableError("dbt writes it again")
        if kind in ("csv", "json"):
            _scrub_records(path, kind, search)
        else:
            _scrub_text(path, search)
        if not search.is_in_file(path):
            return "rewritten"
    except (UnicodeError, UsageError, OSError, EOFError, zstd.ZstdError, UnsearchableError):
        pass
    path.unlink()  # What cannot be read may hold an id.
    return "deleted"


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(16)


def _opener(path: Path) -> Callable[..., Any]:
    """What opens a file, compressed or not, for reading and for writing."""
    head = _head(path)
    return next((opener for mark, opener in COMPRESSED.items() if head.startswith(mark)), open)


@contextmanager
def _rewritten(path: Path) -> Iterator[Any]:
    """A binary stream into a draft, compressed like the file; the draft replaces the file at the end."""
    draft = path.with_name(f".{path.name[:200]}.{os.getpid()}")
    try:
        with _opener(path)(draft, "wb") as stream:
            yield stream
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _scrub_records(path: Path, kind: str, search: FileSearch) -> None:
    ids = set(search.subject.ids)
    with _rewritten(path) as out:
        if kind == "csv":
            out.write(search.redacted(read_header(path).encode()) + b"\n")
        for record in read_records(path):
            raw = record.raw.encode()
            if kind == "json":
                # An element of an array may span lines; the rewritten file has a line for each.
                raw = raw.replace(b"\n", b" ")
            values = json.loads(record.row) if record.row else {}
            unreadable = record.row is None and search.is_in(raw)
            if unreadable or any(_is_id(name, value, ids) for name, value in values.items() if value is not None):
                continue
            out.write(search.redacted(raw) + b"\n")


def _is_id(name: str, value: object, ids: Collection[str]) -> bool:
    """Whether a value is one of the ids: without blanks around it, a whole number without decimals.

    What may as well be a number or another word is an id only where the name of its column says so.
    """
    text = re.sub(r"^([0-9]+)[.]0+$", r"\1", str(value).strip())
    return text in ids and (is_word(text) or re.fullmatch(ID_NAME, name) is not None)


def _scrub_text(path: Path, search: FileSearch) -> None:
    with _opener(path)(path, "rb") as stream:
        content = stream.read()
    content.decode()
    with _rewritten(path) as out:
        out.write(search.redacted(content))


def _scrub_parquet(path: Path, search: FileSearch) -> str:
    theirs = search.parquet_mentions(path)
    if not theirs:
        return ""
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        source = str(path).replace("'", "''")
        connection.execute(
            f"create temp table kept as select t.* from read_parquet('{source}') as t where not ({theirs})"
        )
        draft = path.with_name(f".{path.name[:200]}.{os.getpid()}")
        literal = str(draft).replace("'", "''")
        try:
            connection.execute(f"copy kept to '{literal}' (format parquet)")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    return "rewritten"


def redact_sqlite(path: Path, search: FileSearch) -> bool:
    """Redacts ids in every text of a SQLite file, and rewrites the file if it held any; returns whether it did."""

    def mentions(value: object) -> bool:
        return isinstance(value, str | bytes) and search.is_in(_unpacked(value))

    def redacted(value: str | bytes) -> str | bytes:
        clean = search.redacted(_unpacked(value))
        if isinstance(value, str):
            return clean.decode("utf-8", "surrogateescape")
        return zlib.compress(clean) if _unpacked(value) != value else clean

    changed = 0
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.create_function("mentions", 1, mentions)
        connection.create_function("redacted", 1, redacted)
        with connection:
            tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
            for (table,) in tables:
                columns = [row[1] for row in connection.execute(f'pragma table_info("{table}")')]
                for column in columns:
                    changed += connection.execute(
                        f'update or replace "{table}" set "{column}" = redacted("{column}") where mentions("{column}")'
                    ).rowcount
        if changed:
            vacuum_sqlite(connection)
    return bool(changed)


def vacuum_sqlite(connection: sqlite3.Connection) -> None:
    """Rewrites a SQLite file, so that no bytes of deleted rows are left."""
    connection.execute("vacuum")
    connection.execute("pragma wal_checkpoint(truncate)")


def _unpacked(value: str | bytes) -> bytes:
    """The bytes of a value; those that are compressed, as Dagster does, unpacked."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    try:
        return zlib.decompress(value) if value[:1] == b"x" else value
    except zlib.error:
        return value
