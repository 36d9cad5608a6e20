"""Backups: the state of a home, all of one moment, in a folder that is laid out like a home.

A backup holds the warehouse, the snapshot that is served, the sync ledgers, the audit log, the hashes of API keys,
home.json and status.json, and the checksums of all of them. It leaves out what can be made again or is no state of the
home: Dagster's runs, dbt's files, logs, inbox and outbox.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestration.admin.checksums import write_checksums
from orchestration.admin.erasure import resume_forget
from orchestration.errors import UsageError
from orchestration.home import Home, Notify, read_json, silent, utc_now
from orchestration.published.audit_log import PLAYS
from orchestration.published.lookup_file import KEYS
from orchestration.publishing.snapshot import snapshot_trouble
from orchestration.sync.engine import one_sync_at_a_time
from orchestration.transform.dbt import Project


@dataclass(frozen=True)
class Backup:
    """A backup that was made.

    Attributes:
        folder: where it is.
        bytes: its size.
        build_id: the build of its snapshot; null when nothing was published.

    """

    folder: str
    bytes: int
    build_id: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def backup(project: Project, to: Path | None = None, *, notify: Notify = silent) -> Backup:
    """Copies the state of a home, all of one moment.

    Args:
        project: whose home.
        to: folder in which the backup gets a folder of its own; default ``backups`` in the home. ``traithouse forget``
            does not reach what lies outside the home.
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
                    f"The home {project.home.root} holds nothing yet.", "Load events first: traithouse load FILE..."
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
                if words := snapshot_trouble(project.home):
                    notify(f"backup: there is no snapshot in it. {words}")
                build_id = _copy_served(project.home, draft)
                for ledger in (*project.home.root.glob("sync_ledger.*.sqlite"), *project.home.root.glob(PLAYS)):
                    with (
                        closing(sqlite3.connect(ledger)) as source,
                        closing(sqlite3.connect(draft / ledger.name)) as copy,
                    ):
                        source.backup(copy)
                for name in ("home.json", "status.json", f"serving/{KEYS}"):
                    if (project.home.root / name).exists():
                        (draft / name).parent.mkdir(exist_ok=True)
                        _copy(project.home.root / name, draft / name)
                notify("backup: checksums")
                write_checksums(draft, now)
                draft.rename(target)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file() and not path.is_symlink())
    return Backup(str(target), size, build_id)


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
    """Copies a file, and waits until it is on the disk."""
    shutil.copyfile(source, target)
    with target.open("rb") as stream:
        os.fsync(stream.fileno())
