"""The serving snapshot: a folder for each build, and a symbolic link that is replaced in one step.

Readers open ``serving/current/traithouse.duckdb`` (schema traits), or the Parquet folders beside it, one for each
table. A refresh never blocks them, and they never see two builds. The database is written whole, so the time that a
snapshot takes is linear in the values. The manifest says how long it took, how many bytes were written, and how many
are shared between builds. Former names of tables are views in the database, and folders of Parquet like all tables.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from itertools import chain, count
from pathlib import Path
from typing import Any

import duckdb

from orchestration.damage import WRITES_ANOTHER, refuse_foreign, served_folder
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Home, read_json
from orchestration.published.file_hash import file_hash
from orchestration.published.tables import FORMER_TABLES, TABLES, WIDE_TABLES
from orchestration.publishing.lookup import write_lookup
from orchestration.publishing.parquet_files import ServedFiles, write_parquet_files

# Keys of the manifest.
PARQUET_FILES, _DATABASE = "parquet_files", "database"


def served_build(home: Home) -> str | None:
    """The build that readers see now; null when nothing has been published."""
    return served_manifest(home).get("build_id")


def served_manifest(home: Home) -> dict[str, Any]:
    """The manifest of the served snapshot; empty when it cannot be read.

    Keys: build_id, as_of, published_at; rows by table; parquet_files and database (SHA-256 of each file by its path in
    the snapshot); seconds that writing took, bytes_written, bytes_shared. A snapshot of an earlier version lacks some
    of the keys after rows.
    """
    current = home.serving / "current"
    try:
        refuse_foreign(current / "traithouse.duckdb")
        with duckdb.connect(str((current / "traithouse.duckdb").resolve()), read_only=True):
            return read_json(current / "manifest.json")
    except (duckdb.Error, TraithouseError):
        return {}


def damaged_files(home: Home) -> list[Path]:
    """Files of the served snapshot whose bytes are not those that its manifest names; reads all of them."""
    manifest = served_manifest(home)
    folder = (home.serving / "current").resolve()
    expected = {**(manifest.get(PARQUET_FILES) or {}), **(manifest.get(_DATABASE) or {})}
    return [folder / name for name, known in sorted(expected.items()) if file_hash(folder / name) != known]


def snapshot_trouble(home: Home) -> str | None:
    """Why readers see nothing although something was published, in words; nothing when all is well."""
    try:
        folder = served_folder(home.serving)
    except UsageError:
        return None
    except TraithouseError as error:
        return f"{error.message} {error.hint}"
    if served_build(home) is None:
        return f"The snapshot {folder} is damaged: its manifest cannot be read. {WRITES_ANOTHER}"
    return None


def write_snapshot(home: Home, connection: duckdb.DuckDBPyConnection, build_id: str) -> Path:
    """Writes the published tables aside and moves the link, then the lookup; a crash leaves the last ones as they were.

    Args:
        home: where; hold its lock.
        connection: the warehouse.
        build_id: the build that was published last.

    Returns:
        The folder of the snapshot.

    """
    builds = home.serving / "builds"
    builds.mkdir(parents=True, exist_ok=True)
    for leftover in builds.glob(".draft-*"):
        shutil.rmtree(leftover)
    draft = builds / f".draft-{build_id}"
    draft.mkdir()
    try:
        _fill(draft, home, connection, build_id)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    # A build that is published again (a trait passed later) gets a new folder: somebody may be reading the old one.
    names = chain([build_id], (f"{build_id}.{number}" for number in count(2)))
    target = next(builds / name for name in names if not (builds / name).exists())
    draft.rename(target)
    point_to(home, target)
    write_lookup(home, connection, build_id)
    _forget_old(home)
    return target


def _fill(draft: Path, home: Home, connection: duckdb.DuckDBPyConnection, build_id: str) -> None:
    """Writes database, Parquet files and manifest of a snapshot into its folder."""
    began = time.perf_counter()
    database = str(draft / "traithouse.duckdb").replace("'", "''")
    rows: dict[str, int] = {}
    files: dict[str, str] = {}
    served = ServedFiles((home.serving / "current").resolve(), served_manifest(home).get(PARQUET_FILES) or {})
    connection.execute(f"attach '{database}' as snapshot")
    try:
        connection.execute("create schema snapshot.traits")
        for table in (*TABLES, *WIDE_TABLES.values(), *FORMER_TABLES):
            order = "order by all" if table in WIDE_TABLES.values() else ""
            made = (
                f"view snapshot.traits.{table} as {FORMER_TABLES[table]}"
                if table in FORMER_TABLES
                else (f"table snapshot.traits.{table} as select * from traits.{table} {order}")
            )
            connection.execute(f"create {made}")
            files |= write_parquet_files(connection, "snapshot.traits", table, draft, served)
            counted = connection.execute(f"select count(*) from snapshot.traits.{table}").fetchone()
            rows[table] = counted[0] if counted else 0
    finally:
        connection.execute("detach snapshot")
    as_of, published_at = connection.execute(
        "select as_of, published_at from traits.builds where build_id = $1", [build_id]
    ).fetchone() or (None, None)
    sizes = [(path.stat().st_nlink > 1, path.stat().st_size) for path in draft.rglob("*") if path.is_file()]
    manifest = {
        "build_id": build_id,
        "as_of": as_of,
        "published_at": published_at,
        "rows": rows,
        PARQUET_FILES: files,
        _DATABASE: {"traithouse.duckdb": file_hash(draft / "traithouse.duckdb")},
        "seconds": round(time.perf_counter() - began, 3),
        "bytes_written": sum(size for shared, size in sizes if not shared),
        "bytes_shared": sum(size for shared, size in sizes if shared),
    }
    (draft / "manifest.json").write_text(json.dumps(manifest, default=str, indent=1))


def point_to(home: Home, target: Path) -> None:
    """Serves a build: readers see it from now on; the change is a single step."""
    current = home.serving / "current"
    if current.is_dir() and not current.is_symlink():
        raise TraithouseError(
            f"{current} is a folder, where a link to the served build should be.",
            "Move it away; traithouse refresh makes the link.",
        )
    fresh = home.serving / f".current-{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.relative_to(home.serving))
    fresh.replace(current)


def _forget_old(home: Home) -> None:
    builds = sorted(
        (path.resolve() for path in (home.serving / "builds").iterdir() if not path.name.startswith(".")),
        key=lambda path: path.stat().st_mtime_ns,
    )
    current = (home.serving / "current").resolve()
    for old in builds[: -home.settings.builds_kept]:
        if old != current:
            shutil.rmtree(old)
