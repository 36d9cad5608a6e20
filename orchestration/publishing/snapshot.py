"""The serving snapshot: a folder a build, and a symbolic link that is replaced in one step.

Readers open ``serving/current/traithouse.duckdb`` (schema traits) or the Parquet files beside it; they are never
blocked by a refresh, and never see two builds.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
from itertools import chain, count
from pathlib import Path
from typing import Any

import duckdb

from orchestration.errors import TraithouseError
from orchestration.project import House, read_json
from orchestration.publishing.tables import TABLES, WIDE_TABLES


def served_build(house: House) -> str | None:
    """The build that readers see now."""
    return served_manifest(house).get("build_id")


def served_manifest(house: House) -> dict[str, Any]:
    """What the served snapshot says of itself (build_id, as_of, published_at, rows); empty when none can be read."""
    current = house.serving / "current"
    try:
        with duckdb.connect(str((current / "traithouse.duckdb").resolve()), read_only=True):
            return read_json(current / "manifest.json")
    except duckdb.Error:
        return {}


def write_snapshot(house: House, connection: duckdb.DuckDBPyConnection, build_id: str) -> Path:
    """Writes the published tables aside and moves the link; a crash leaves the last snapshot as it was."""
    builds = house.serving / "builds"
    builds.mkdir(parents=True, exist_ok=True)
    for leftover in builds.glob(".draft-*"):
        shutil.rmtree(leftover)
    draft = builds / f".draft-{build_id}"
    draft.mkdir()
    database = str(draft / "traithouse.duckdb").replace("'", "''")
    rows = {}
    connection.execute(f"attach '{database}' as snapshot")
    try:
        connection.execute("create schema snapshot.traits")
        for table in (*TABLES, *WIDE_TABLES.values()):
            order = "order by all" if table in WIDE_TABLES.values() else ""
            connection.execute(f"create table snapshot.traits.{table} as select * from traits.{table} {order}")
            parquet = str(draft / f"{table}.parquet").replace("'", "''")
            connection.execute(f"copy snapshot.traits.{table} to '{parquet}' (format parquet)")
            _share(Path(parquet), house.serving / "current" / f"{table}.parquet")
            counted = connection.execute(f"select count(*) from snapshot.traits.{table}").fetchone()
            rows[table] = counted[0] if counted else 0
    finally:
        connection.execute("detach snapshot")
    as_of, published_at = connection.execute(
        "select as_of, published_at from traits.builds where build_id = $1", [build_id]
    ).fetchone() or (None, None)
    manifest = {"build_id": build_id, "as_of": as_of, "published_at": published_at, "rows": rows}
    (draft / "manifest.json").write_text(json.dumps(manifest, default=str, indent=1))
    # A build that is published again (a trait passed later) gets a folder of its own: the old one may be being read.
    names = chain([build_id], (f"{build_id}.{number}" for number in count(2)))
    target = next(builds / name for name in names if not (builds / name).exists())
    draft.rename(target)
    point_to(house, target)
    _forget_old(house)
    return target


def _share(written: Path, served: Path) -> None:
    """A file with the bytes of the one served now becomes a second name of that one: nobody changes either."""
    if served.is_file() and filecmp.cmp(written, served, shallow=False):
        second = written.with_suffix(".link")
        os.link(served.resolve(), second)
        second.replace(written)


def point_to(house: House, target: Path) -> None:
    """Makes a build the one that readers see, in one step."""
    current = house.serving / "current"
    if current.is_dir() and not current.is_symlink():
        raise TraithouseError(
            f"{current} is a folder, where a link to the served build should be.",
            "Move it away; traithouse refresh makes the link.",
        )
    fresh = house.serving / f".current-{os.getpid()}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.relative_to(house.serving))
    fresh.replace(current)


def _forget_old(house: House) -> None:
    builds = sorted(
        (path.resolve() for path in (house.serving / "builds").iterdir() if not path.name.startswith(".")),
        key=lambda path: path.stat().st_mtime_ns,
    )
    current = (house.serving / "current").resolve()
    for old in builds[: -house.settings.builds_kept]:
        if old != current:
            shutil.rmtree(old)
