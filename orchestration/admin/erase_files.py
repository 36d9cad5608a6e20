"""Erases a data subject from the other files of a home: outbox, inbox, logs, Data Docs, Dagster's state and the rest.

- CSV, NDJSON and Parquet, also compressed, are written again without the rows in which a value is one of the ids. In
  longer texts of other rows the id is redacted (in Parquet such a row is deleted).
- SQLite and other text files are kept, and the ids in them are redacted. A DuckDB file loses the subject's rows.
- Any other file that holds an id is deleted.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
from backports import zstd

from orchestration.admin.erase_warehouse import erase_rows, rewrite
from orchestration.admin.subject import Subject
from orchestration.errors import UsageError
from orchestration.landing.readers import file_kind, open_bytes, read_header, read_records
from orchestration.landing.tombstones import FORGOTTEN, SHORTEST_WORD, byte_pattern, sql_patterns

_CHUNK = 1 << 22
_OVERLAP = 1 << 12


def scrub_files(root: Path, subject: Subject, leave: Callable[[Path], bool]) -> dict[str, str]:
    """Goes through every file below a folder; returns what was done, by path: rewritten, renamed or deleted.

    Args:
        root: the folder.
        subject: whose ids are erased.
        leave: says which files are left alone, because another step erases them.

    """
    pattern = byte_pattern(subject.ids)
    done = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink()):
        if leave(path):
            continue
        named = _renamed(path, pattern)
        action = _scrub_file(named, subject, pattern) or ("renamed" if named != path else "")
        if action:
            done[str(named.relative_to(root))] = action
    folders = [path for path in root.rglob("*") if path.is_dir() and not path.is_symlink() and not leave(path)]
    for folder in sorted(folders, reverse=True):  # what is within a folder first
        named = _renamed(folder, pattern)
        if named != folder:
            done[str(named.relative_to(root))] = "renamed"
    return done


def _renamed(path: Path, pattern: re.Pattern[bytes]) -> Path:
    """Redacts ids in the name of a file or folder; what already has that name stays, and a number is added."""
    name = pattern.sub(FORGOTTEN.encode(), os.fsencode(path.name))
    if name == os.fsencode(path.name):
        return path
    named = path.with_name(os.fsdecode(name))
    for number in count(2):
        if not named.exists():
            break
        named = path.with_name(f"{number}-{os.fsdecode(name)}")
    path.rename(named)
    return named


def _scrub_file(path: Path, subject: Subject, pattern: re.Pattern[bytes]) -> str:
    head = _head(path)
    if head.startswith(b"SQLite format 3\x00"):
        return "rewritten" if redact_sqlite(path, pattern) else ""
    if head[8:12] == b"DUCK":
        with duckdb.connect(str(path)) as connection:
            erase_rows(connection, subject)
        rewrite(path)
        return "rewritten"
    if head.startswith(b"PAR1"):
        return _scrub_parquet(path, subject)
    try:
        kind = file_kind(path)
    except UsageError:
        kind = ""
    # A short id cannot be told from other bytes, so it is looked for among the values.
    by_value = kind in ("csv", "json") and any(len(entity_id) < SHORTEST_WORD for entity_id in subject.ids)
    try:
        if not by_value and not _holds(path, pattern):
            return ""
        if kind in ("csv", "json"):
            _scrub_records(path, kind, subject, pattern)
        else:
            _scrub_text(path, pattern)
    except (UnicodeError, UsageError, OSError, EOFError, zstd.ZstdError):
        path.unlink()  # What cannot be read may hold an id.
        return "deleted"
    return "rewritten"


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(16)


def _holds(path: Path, pattern: re.Pattern[bytes]) -> bool:
    with path.open("rb") as stream:
        if pattern.search(stream.read(_OVERLAP)):  # The header of a compressed file may hold its earlier name.
            return True
    with open_bytes(path) as stream:
        before = b""
        while chunk := stream.read(_CHUNK):
            if pattern.search(before + chunk):
                return True
            before = chunk[-_OVERLAP:]
    return False


@contextmanager
def _rewritten(path: Path) -> Iterator[Any]:
    """A binary stream into a draft, compressed like the file; the draft replaces the file at the end."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".zst": zstd.open}
    try:
        with openers.get(path.suffix.lower(), open)(draft, "wb") as stream:
            yield stream
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _scrub_records(path: Path, kind: str, subject: Subject, pattern: re.Pattern[bytes]) -> None:
    ids = set(subject.ids)
    with _rewritten(path) as out:
        if kind == "csv":
            out.write(read_header(path).encode() + b"\n")
        for record in read_records(path):
            raw = record.raw.encode()
            if kind == "json":
                # An element of an array may span lines; the rewritten file has a line for each.
                raw = raw.replace(b"\n", b" ")
            values = json.loads(record.row).values() if record.row else ()
            unreadable = record.row is None and pattern.search(raw)
            if unreadable or any(_as_id(value) in ids for value in values if value is not None):
                continue
            out.write(pattern.sub(FORGOTTEN.encode(), raw) + b"\n")


def _as_id(value: object) -> str:
    """A value as an id: without blanks around it, a whole number without decimals."""
    return re.sub(r"^([0-9]+)[.]0+$", r"\1", str(value).strip())


def _scrub_text(path: Path, pattern: re.Pattern[bytes]) -> None:
    with open_bytes(path) as stream:
        content = stream.read()
    content.decode()
    with _rewritten(path) as out:
        out.write(pattern.sub(FORGOTTEN.encode(), content))


def _scrub_parquet(path: Path, subject: Subject) -> str:
    words, strings = sql_patterns(subject.ids)
    mentions = [
        f"regexp_matches(cast(to_json(t) as varchar), ${n})" for n, p in (("words", words), ("strings", strings)) if p
    ]
    given = {name: pattern for name, pattern in (("words", words), ("strings", strings)) if pattern}
    theirs = " or ".join(mentions)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        source = "read_parquet($path) as t"
        found = connection.execute(f"select 1 from {source} where {theirs} limit 1", given | {"path": str(path)})
        if found.fetchone() is None:
            return ""
        connection.execute(
            f"create temp table kept as select t.* from {source} where not ({theirs})", given | {"path": str(path)}
        )
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        literal = str(draft).replace("'", "''")
        try:
            connection.execute(f"copy kept to '{literal}' (format parquet)")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    return "rewritten"


def redact_sqlite(path: Path, pattern: re.Pattern[bytes]) -> bool:
    """Redacts ids in every text of a SQLite file, and rewrites the file if it held any; returns whether it did."""

    def mentions(value: object) -> bool:
        return isinstance(value, str | bytes) and bool(pattern.search(_as_bytes(value)))

    def redacted(value: str | bytes) -> str | bytes:
        clean = pattern.sub(FORGOTTEN.encode(), _as_bytes(value))
        return clean.decode() if isinstance(value, str) else clean

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
                        f'update "{table}" set "{column}" = redacted("{column}") where mentions("{column}")'
                    ).rowcount
        if changed:
            vacuum_sqlite(connection)
    return bool(changed)


def vacuum_sqlite(connection: sqlite3.Connection) -> None:
    """Rewrites a SQLite file, so that no bytes of deleted rows are left."""
    connection.execute("vacuum")
    connection.execute("pragma wal_checkpoint(truncate)")


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
