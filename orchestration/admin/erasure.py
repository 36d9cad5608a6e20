"""A person leaves the home: raw, what was made of it, ledger, snapshots, deliveries, files and backups.

In this order, each step such that making it again changes nothing:

1. ``forget.json`` says whom, in clear, for as long as the home has not done with it; whatever cuts the forgetting off,
   the next refresh or forget goes on from there.
2. The warehouse: tombstones and deletions in one transaction; then the file is written anew.
3. A snapshot of what is published now without the person, under the same build; values of others do not move.
4. The sync ledgers: what a destination has stays until the next sync has cleared it (orchestration/sync/ledger.py).
5. Every other file of the home, and every backup in it, which is a home of its own.
6. Older snapshots are deleted, so that a rollback reaches back to the forgetting only.
7. ``forget.json`` goes.

What dbt makes was dropped with 2, so the next refresh rebuilds everything; forgetting is rare enough for that.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from orchestration.admin.checksums import SEAL, seal
from orchestration.admin.erase_files import scrub_files
from orchestration.admin.erase_warehouse import erase, rewrite
from orchestration.admin.subject import Person, resolve
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Home, Notify, Settings, read_json, silent, utc_now, write_atomically
from orchestration.landing.contract import RAW_TABLES
from orchestration.landing.tombstones import has_tombstone
from orchestration.published.tables import PUBLISHED_TABLES
from orchestration.publishing.snapshot import write_snapshot
from orchestration.sync.engine import one_sync_at_a_time
from orchestration.sync.ledger import SyncLedger
from orchestration.transform.dbt import Project

INTENT = "forget.json"


@dataclass(frozen=True)
class Scope:
    """What of the project matters to forgetting: schemas that dbt makes, and syncs that are declared."""

    derived: frozenset[str]
    syncs: tuple[str, ...]

    @classmethod
    def of(cls, project: Project) -> Scope:
        """Read from the manifest."""
        nodes = project.manifest_dict["nodes"].values()
        return cls(
            frozenset(node["schema"] for node in nodes if node["resource_type"] in ("model", "seed")),
            tuple(sync.name for sync in project.catalog.syncs),
        )


@dataclass(frozen=True)
class Forgotten:
    """What forgetting did; no id is in it.

    Attributes:
        entity_type: user or account.
        ids: how many ids were forgotten together.
        rows: deleted rows of the warehouse, by table; none when only a cut-off forgetting was finished.
        files: other files that held an id, by path in the home: written anew, or deleted.
        backups: how many backups in the home were gone through.
        pending: syncs whose destination still has the person; the next `traithouse sync` clears it.

    """

    entity_type: str
    ids: int
    rows: dict[str, int] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    backups: int = 0
    pending: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def forget_person(project: Project, entity_id: str, entity_type: str = "user", *, notify: Notify = silent) -> Forgotten:
    """Forgets one person with all ids that are merged with this one; call it when all that was loaded is built.

    Raises:
        UsageError: nobody is known under this id, or it is a device that several users share.
        WarehouseBusyError: another process holds the warehouse, or is syncing.

    """
    with project.home.lock("traithouse forget"), one_sync_at_a_time(project.home):
        _finish(project, notify)
        with project.home.connect() as connection:
            connection.execute(RAW_TABLES)
            person = resolve(connection, entity_type, entity_id)
            if not has_tombstone(connection, entity_type, entity_id) and not _is_known(connection, person):
                raise UsageError(f"There is no {entity_type} {entity_id} in this home.", "Check the id; case matters.")
        write_atomically(project.home.root / INTENT, json.dumps(asdict(person)))
        return _finish(project, notify) or Forgotten(entity_type, 0)


def resume_forget(project: Project, *, notify: Notify = silent) -> Forgotten | None:
    """Finishes a forgetting that was cut off; nothing when there is none. Call it under the lock."""
    if not (project.home.root / INTENT).exists():
        return None
    with one_sync_at_a_time(project.home):
        return _finish(project, notify)


def is_built(home: Home) -> bool:
    """Whether identity knows all that was loaded."""
    with home.connect() as connection:
        connection.execute(RAW_TABLES)
        exists = "select 1 from duckdb_tables() where schema_name = 'state' and table_name = 'watermark'"
        if connection.execute(exists).fetchone() is None:
            return False
        return (
            connection.execute(
                "select 1 from state.watermark where load_id >= (select coalesce(max(load_id), 0) from raw.loads)"
            ).fetchone()
            is not None
        )


def _finish(project: Project, notify: Notify) -> Forgotten | None:
    path = project.home.root / INTENT
    said = read_json(path)
    if not path.exists():
        return None
    if not said:
        raise TraithouseError(f"{path} cannot be read.", "Delete it, then forget the person again.")
    person = Person(said["entity_type"], tuple(said["ids"]), tuple(said["events"]))
    scope = Scope.of(project)
    done = scrub(project.home, scope, person, notify)
    notify("forgetting: done")
    path.unlink()
    return done


def scrub(home: Home, scope: Scope, person: Person, notify: Notify = silent) -> Forgotten:
    """Takes a person out of a home; hold its locks."""
    rows: dict[str, int] = {}
    if home.warehouse.exists():
        notify("forgetting: the warehouse")
        with home.connect() as connection:
            rows = erase(connection, person, scope.derived, utc_now())
        notify("forgetting: what the warehouse file held")
        rewrite(home.warehouse)
        notify("forgetting: the snapshot")
        _serve_anew(home)
    notify("forgetting: deliveries")
    pending = set()
    for path in sorted(home.root.glob("sync_ledger.*.sqlite")):
        with SyncLedger(home, path) as ledger:
            pending |= set(ledger.forget(person.entity_type, person.ids, scope.syncs))
    notify("forgetting: files")
    files = scrub_files(home.root, person, lambda path: _is_handled(home, path))
    backups = _backups(home)
    for backup in backups:
        notify(f"forgetting: backup {backup.name}")
        # Destinations are told by the home itself.
        told = Scope(scope.derived, ())
        inner = scrub(Home(Settings(**{**home.settings.model_dump(), "home": backup})), told, person)
        if (backup / SEAL).exists():
            seal(backup)
        files |= {f"{backup.relative_to(home.root)}/{name}": action for name, action in inner.files.items()}
    notify("forgetting: older snapshots")
    _drop_old_builds(home)
    return Forgotten(person.entity_type, len(person.ids), rows, files, len(backups), tuple(sorted(pending)))


def _is_known(connection: duckdb.DuckDBPyConnection, person: Person) -> bool:
    """Whether any table has a row under one of the ids."""
    tables = connection.execute(
        """
        select schema_name, table_name, list(column_name) from duckdb_columns()
        where not internal and data_type = 'VARCHAR' and (
            schema_name in ('raw', 'traits') and list_contains($named, column_name)
            or starts_with(schema_name, 'raw_')
        )
        group by all
        """,
        {"named": ["user_id", "anonymous_id", "previous_id", "account_id", "entity_id", "raw_text"]},
    ).fetchall()
    for schema, table, columns in tables:
        for column in columns:
            found = f'select 1 from "{schema}"."{table}" where list_contains($ids, trim("{column}")) limit 1'
            if column == "raw_text":
                found = f'select 1 from "{schema}"."{table}" where contains(raw_text, $ids[1]) limit 1'
            if connection.execute(found, {"ids": list(person.ids)}).fetchone():
                return True
    return False


def _serve_anew(home: Home) -> None:
    with home.connect() as connection:
        exists = "select 1 from duckdb_tables() where schema_name = 'traits' and table_name = 'builds'"
        newest = None
        if connection.execute(exists).fetchone():
            newest = connection.execute("select max(build_id) from traits.builds").fetchone()
        if newest and newest[0]:
            # A home or a backup of an earlier version lacks some.
            connection.execute(PUBLISHED_TABLES)
            write_snapshot(home, connection, newest[0])


def _drop_old_builds(home: Home) -> None:
    current = (home.serving / "current").resolve()
    for build in (home.serving / "builds").glob("*"):
        if build != current:
            shutil.rmtree(build)


def _backups(home: Home) -> Sequence[Path]:
    """Homes within the home: its backups, and what a restore has replaced; drafts of them are deleted."""
    for draft in (*home.root.glob("backups/.*"), *home.root.glob(".restore-*")):
        shutil.rmtree(draft)
    return sorted(path for path in (*home.root.glob("backups/*"), *home.root.glob("replaced-*")) if path.is_dir())


def _is_handled(home: Home, path: Path) -> bool:
    """Whether a file is not to be gone through as a mere file."""
    first = path.relative_to(home.root).parts[0]
    return first in ("serving", "backups", INTENT, "lock", "sync.lock") or first.startswith(
        (home.warehouse.name, "sync_ledger.", "replaced-")
    )
