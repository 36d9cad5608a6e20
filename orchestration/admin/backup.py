"""Backups, and homes made of them.

A backup is a folder laid out like a home: the warehouse, the snapshot that is served, the sync ledgers, home.json and
status.json, all of one moment. Left out is what can be had again or is no state of the home: Dagster's runs, dbt's
files, logs, inbox and outbox.

Restoring is never half done. The backup is copied aside and held against its seal first; then ``restore.json`` is
written, and until each part has been put in its place and that file is gone, nothing but a restore takes the home's
lock. The link to the snapshot moves in one step, so a reader sees the snapshot of before or the restored one.

What a home held before is kept in ``replaced-<time>``. Two things of it outlive the restore: a sync ledger, for it
tells what destinations have today; and tombstones, for who was forgotten since the backup was made is forgotten in it,
too.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestration.admin.checksums import check_seal, seal
from orchestration.admin.erasure import Scope, resume_forget, scrub
from orchestration.admin.subject import Person
from orchestration.errors import UsageError
from orchestration.home import RESTORE_INTENT, Home, Notify, Settings, read_json, silent, utc_now, write_atomically
from orchestration.landing.contract import RAW_TABLES
from orchestration.landing.tombstones import hash_sql
from orchestration.publishing.snapshot import point_to
from orchestration.sync.engine import one_sync_at_a_time
from orchestration.transform.dbt import Project


@dataclass(frozen=True)
class Backup:
    """A backup that was made.

    Attributes:
        folder: where it is.
        bytes: its size.
        build_id: the build that its snapshot is of; null when nothing was published.

    """

    folder: str
    bytes: int
    build_id: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Restored:
    """A home that was restored.

    Attributes:
        backup: from which folder.
        replaced: folder with what the home held before; null when it held nothing.
        forgotten: ids that were forgotten since the backup was made, and were taken out of it again.

    """

    backup: str
    replaced: str | None
    forgotten: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def backup(project: Project, to: Path | None = None, *, notify: Notify = silent) -> Backup:
    """Copies the state of a home, all of one moment.

    Args:
        project: whose home.
        to: folder in which the backup gets a folder of its own; default ``backups`` in the home. What lies outside the
            home is not reached by ``traithouse forget``.
        notify: progress.

    Raises:
        UsageError: there is nothing to back up.
        WarehouseBusyError: another process holds the warehouse, or is syncing.

    """
    with project.home.lock("traithouse backup"):
        resume_forget(project, notify=notify)
        with one_sync_at_a_time(project.home):
            if not project.home.warehouse.exists():
                raise UsageError(
                    f"The home {project.home.root} holds nothing yet.", "traithouse load FILE... brings events in."
                )
            folder = (to or project.home.root / "backups").expanduser().absolute()
            folder.mkdir(parents=True, exist_ok=True)
            now = utc_now()
            target = folder / f"backup-{now:%Y%m%dT%H%M%S%fZ}"
            draft = folder / f".{target.name}"
            draft.mkdir()
            try:
                notify("backup: the warehouse")
                with project.home.connect() as connection:
                    connection.execute("checkpoint")
                _copy(project.home.warehouse, draft / project.home.warehouse.name)
                notify("backup: snapshot and deliveries")
                build_id = _copy_served(project.home, draft)
                for ledger in project.home.root.glob("sync_ledger.*.sqlite"):
                    with (
                        closing(sqlite3.connect(ledger)) as source,
                        closing(sqlite3.connect(draft / ledger.name)) as copy,
                    ):
                        source.backup(copy)
                for name in ("home.json", "status.json"):
                    if (project.home.root / name).exists():
                        _copy(project.home.root / name, draft / name)
                notify("backup: hashes")
                seal(draft, now)
                draft.rename(target)
            except OSError:
                shutil.rmtree(draft, ignore_errors=True)
                raise
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file() and not path.is_symlink())
    return Backup(str(target), size, build_id)


def restore(project: Project, source: Path, *, force: bool = False, notify: Notify = silent) -> Restored:
    """Puts the state of a backup into a home; one that was cut off is finished first.

    Args:
        project: whose home is restored.
        source: folder of a backup, or its name among ``backups`` of the home.
        force: whether a home that holds something may be replaced; what it held is kept aside.
        notify: progress.

    Raises:
        UsageError: it is no whole backup, or the home holds something and force was not given.
        WarehouseBusyError: another process holds the warehouse, or is syncing.

    """
    if not source.is_dir() and (project.home.root / "backups" / source.name).is_dir():
        source = project.home.root / "backups" / source.name
    source = source.expanduser().absolute()
    with project.home.lock("traithouse restore", restoring=True), one_sync_at_a_time(project.home):
        if (project.home.root / RESTORE_INTENT).exists():
            cut_off = _put_in_place(project.home, notify)
            if cut_off.backup == str(source):
                return cut_off
            force = True
        for leftover in project.home.root.glob(".restore-*"):
            shutil.rmtree(leftover)
        if project.home.warehouse.exists() and not force:
            raise UsageError(
                f"The home {project.home.root} holds a warehouse.",
                "--force replaces it; what it holds is kept beside it.",
            )
        notify("restore: checking the backup")
        check_seal(source)
        draft = project.home.root / f".restore-{utc_now():%Y%m%dT%H%M%S%fZ}"
        notify("restore: copying")
        shutil.copytree(source, draft, symlinks=True)
        check_seal(draft)
        inner = Home(Settings(**{**project.home.settings.model_dump(), "home": draft}))
        inner.prepare()
        forgotten = _forget_again(project.home, inner, project, notify)
        said = {
            "backup": str(source),
            "draft": draft.name,
            "replaced": draft.name.replace(".restore", "replaced") if project.home.warehouse.exists() else None,
            "forgotten": forgotten,
        }
        write_atomically(project.home.root / RESTORE_INTENT, json.dumps(said))
        return _put_in_place(project.home, notify)


def _put_in_place(home: Home, notify: Notify) -> Restored:
    """Moves each part of the draft to its place, and what was there aside; it goes on where it was cut off."""
    said = read_json(home.root / RESTORE_INTENT)
    draft = home.root / said["draft"]
    aside = home.root / (said["replaced"] or ".restore-nothing")
    aside.mkdir(exist_ok=True)
    ledgers = sorted(path.name for path in draft.glob("sync_ledger.*.sqlite"))
    log = f"{home.warehouse.name}.wal"
    if (home.root / log).exists() and (draft / home.warehouse.name).exists():
        # What a killed process left belongs to the file that goes, and would spoil the one that comes.
        (home.root / log).replace(aside / log)
    for name in (home.warehouse.name, "status.json", *ledgers):
        notify(f"restore: {name}")
        part, place = draft / name, home.root / name
        if not part.exists() or (name in ledgers and place.exists()):
            continue
        if place.exists():
            place.replace(aside / name)
        part.replace(place)
    notify("restore: the snapshot")
    _serve(home, draft, aside)
    if said["replaced"]:
        shutil.copyfile(home.root / "home.json", aside / "home.json")
    else:
        shutil.rmtree(aside)
    shutil.rmtree(draft, ignore_errors=True)
    (home.root / RESTORE_INTENT).unlink()
    replaced = str(aside) if said["replaced"] else None
    return Restored(said["backup"], replaced, said["forgotten"])


def _serve(home: Home, draft: Path, aside: Path) -> None:
    """Points readers to the restored snapshot, and moves the others aside; without one in the backup none is served."""
    current, builds = home.serving / "current", home.serving / "builds"
    builds.mkdir(parents=True, exist_ok=True)
    suffix = draft.name.removeprefix(".restore")
    for build in (draft / "serving" / "builds").glob("*"):
        build.replace(builds / f"{build.name}{suffix}")
    restored = next(builds.glob(f"*{suffix}"), None)
    if restored:
        point_to(home, restored)
    else:
        current.unlink(missing_ok=True)
    (aside / "serving" / "builds").mkdir(parents=True, exist_ok=True)
    for build in builds.iterdir():
        if build != restored:
            build.replace(aside / "serving" / "builds" / build.name)


def _forget_again(home: Home, inner: Home, project: Project, notify: Notify) -> int:
    """Takes those out of a backup who were forgotten in the home since; returns how many ids.

    A warehouse that cannot be opened any more, which may be why it is restored, tells of nobody.
    """
    if not home.warehouse.exists():
        return 0
    try:
        with home.connect() as connection:
            connection.execute(RAW_TABLES)
            tombstones = connection.execute("from raw.tombstones").fetchall()
    except duckdb.Error:
        notify("restore: the warehouse cannot be read; who was forgotten since the backup has to be forgotten again")
        return 0
    if not tombstones:
        return 0
    with inner.connect() as connection:
        connection.execute(RAW_TABLES)
        for row in tombstones:
            connection.execute(
                """
                insert into raw.tombstones select $1, $2, $3, $4 where not exists (
                    select 1 from raw.tombstones where salt = $1 and entity_type = $2 and id_hash = $3
                )
                """,
                list(row),
            )
        found = {kind: _buried(connection, kind) for kind in ("user", "account", "event")}
    count = 0
    for kind in ("user", "account"):
        if found[kind] or (kind == "user" and found["event"]):
            events = tuple(found["event"]) if kind == "user" else ()
            scrub(inner, Scope.of(project), Person(kind, tuple(found[kind]), events), notify)
            count += len(found[kind])
    return count


def _buried(connection: duckdb.DuckDBPyConnection, kind: str) -> list[str]:
    """Ids in a warehouse that have a tombstone."""
    columns = connection.execute(
        """
        select schema_name, table_name, column_name from duckdb_columns()
        where not internal and data_type = 'VARCHAR'
            and (schema_name in ('raw', 'traits') or starts_with(schema_name, 'raw_'))
            and table_name not in ('tombstones', 'user_traits', 'account_traits')
            and (starts_with(schema_name, 'raw_') or column_name like '%\\_id' escape '\\')
        """
    ).fetchall()
    found: set[str] = set()
    for schema, table, column in columns:
        rows = connection.execute(
            f"""
            with ids as (
                select distinct trim("{column}") as id from "{schema}"."{table}" where "{column}" is not null
            )
            select distinct ids.id from ids inner join raw.tombstones as t
                on t.entity_type = $kind and t.id_hash = {hash_sql("$kind", "ids.id", "t.salt")}
            """,
            {"kind": kind},
        ).fetchall()
        found |= {one for (one,) in rows}
    return sorted(found)


def _copy_served(home: Home, draft: Path) -> str | None:
    current = home.serving / "current"
    if not current.exists():
        return None
    served = current.resolve()
    target = draft / "serving" / "builds" / served.name
    shutil.copytree(served, target)
    (draft / "serving" / "current").symlink_to(target.relative_to(draft / "serving"))
    return str(read_json(target / "manifest.json").get("build_id"))


def _copy(source: Path, target: Path) -> None:
    """Copies a file to the disk itself, not only to the system's memory."""
    shutil.copyfile(source, target)
    with target.open("rb") as stream:
        os.fsync(stream.fileno())
