"""Forgets a data subject: erases it from raw, models, ledger, snapshots, deliveries, files and backups of a home.

The steps, in this order; each can be repeated without changing anything:

1. ``forget.json`` names the subject in clear until everything is done. When the forgetting is cut off, the next refresh
   or forget goes on from this file.
2. The warehouse: tombstones and deletions in one transaction; then the file is rewritten.
3. A snapshot of what is published now, without the subject, under the same build; values of others do not change.
4. The sync ledgers: what a destination has is kept until the next sync has cleared it (orchestration/sync/ledger.py).
5. Every other file of the home, and every backup in it, which is a home of its own.
6. Older snapshots are deleted, so that a rollback cannot bring the subject back.
7. ``forget.json`` is deleted.

Step 2 drops what dbt makes, so the next refresh rebuilds everything; forgetting is rare enough for that.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb

from orchestration.admin.checksums import CHECKSUMS, write_checksums
from orchestration.admin.erase_files import scrub_files
from orchestration.admin.erase_warehouse import erase, rewrite
from orchestration.admin.subject import Subject, resolve
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Home, Notify, Settings, read_json, silent, utc_now, write_atomically
from orchestration.landing.contract import RAW_TABLES
from orchestration.landing.tombstones import has_tombstone
from orchestration.published.tables import PUBLISHED_TABLES
from orchestration.publishing.lookup import drop_old_lookups, write_copy
from orchestration.publishing.snapshot import write_snapshot
from orchestration.sync.engine import one_sync_at_a_time
from orchestration.sync.ledger import SyncLedger
from orchestration.transform.dbt import Project

INTENT = "forget.json"
EMAIL = "email"


@dataclass(frozen=True)
class ErasureScope:
    """What forgetting has to know of the project.

    Attributes:
        derived: schemas that dbt makes.
        syncs: names of the declared syncs.
        identifiers: names of the attributes that users are known by elsewhere.

    """

    derived: frozenset[str]
    syncs: tuple[str, ...]
    identifiers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, project: Project) -> ErasureScope:
        """The scope of a project, read from its manifest and catalogue."""
        nodes, syncs = project.manifest_dict["nodes"].values(), project.catalog.syncs
        return cls(
            frozenset(node["schema"] for node in nodes if node["resource_type"] in ("model", "seed")),
            tuple(sync.name for sync in syncs),
            frozenset({EMAIL, *(sync.identified_by for sync in syncs if sync.entity == "user" and not sync.is_native)}),
        )


@dataclass(frozen=True)
class Forgotten:
    """What forgetting did; no id is in it.

    Attributes:
        entity_type: user or account.
        ids: how many ids were forgotten together.
        rows: deleted rows of the warehouse, by table; empty when a forgetting that was cut off had deleted them before.
        files: other files that held an id, by path in the home: rewritten, renamed or deleted; and files that could not
            be searched, with the reason.
        backups: how many backups in the home were gone through.
        pending: syncs whose destination still has the subject; the next `traithouse sync` clears it.

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


def forget_people(
    project: Project, entity_ids: Sequence[str], entity_type: str = "user", *, notify: Notify = silent
) -> Forgotten:
    """Forgets subjects with all ids that are merged with these; call it when all that was loaded is built.

    Either all of the ids can be forgotten, or none is.

    Raises:
        UsageError: nobody is known under one of the ids, or it is a device that several users share.
        WarehouseBusyError: another process holds the warehouse, or is syncing.

    """
    with project.home.lock("traithouse forget"), one_sync_at_a_time(project.home):
        _finish(project, notify)
        with project.home.connect() as connection:
            connection.execute(RAW_TABLES)
            subject = resolve(connection, entity_type, entity_ids, ErasureScope.of(project).identifiers)
            fresh = [name for name in entity_ids if not has_tombstone(connection, entity_type, name)]
            if unknown := unknown_ids(connection, fresh):
                named = f"{', '.join(unknown[:5])}{' and others' if unknown[5:] else ''}"
                none = " Nothing was forgotten." if len(entity_ids) > 1 else ""
                raise UsageError(
                    f"There is no {entity_type} {named} in this home.{none}", "Check the id; case matters."
                )
        subject = with_delivered(project.home, subject)
        write_atomically(project.home.root / INTENT, json.dumps(asdict(subject)))
        return _finish(project, notify) or Forgotten(entity_type, 0)


def resume_forget(project: Project, *, notify: Notify = silent) -> Forgotten | None:
    """Finishes a forgetting that was cut off; nothing when there is none. Call it under the lock."""
    if not (project.home.root / INTENT).exists():
        return None
    with one_sync_at_a_time(project.home):
        return _finish(project, notify)


def is_built(home: Home) -> bool:
    """Whether all that was loaded is built, so that identity knows every merge."""
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
    intent = read_json(path)
    if not path.exists():
        return None
    if not intent:
        raise TraithouseError(
            f"A forgetting was cut off, and its file {path} cannot be read.", "Delete the file, then forget again."
        )
    given = (tuple(intent.get(key, ())) for key in ("ids", "events", "identifiers"))
    subject = Subject(intent["entity_type"], *given)
    scope = ErasureScope.of(project)
    done = scrub(project.home, scope, subject, notify)
    notify("forgetting: done")
    path.unlink()
    return done


def scrub(home: Home, scope: ErasureScope, subject: Subject, notify: Notify = silent) -> Forgotten:
    """Erases a subject from a home; hold its locks."""
    rows: dict[str, int] = {}
    if home.warehouse.exists():
        notify("forgetting: the warehouse")
        with home.connect() as connection:
            rows = erase(connection, subject, scope.derived, utc_now())
        notify("forgetting: rewriting the warehouse file")
        rewrite(home.warehouse)
        notify("forgetting: the snapshot")
        _rewrite_snapshot(home)
    notify("forgetting: deliveries")
    pending = set()
    for path in sorted(home.root.glob("sync_ledger.*.sqlite")):
        with SyncLedger(home, path) as ledger:
            pending |= set(ledger.forget(subject.entity_type, subject.ids, scope.syncs))
    notify("forgetting: files")
    files = scrub_files(home.root, subject, lambda path: is_handled(home, path))
    backups = backups_in(home)
    for backup in backups:
        notify(f"forgetting: backup {backup.name}")
        # The home itself clears destinations, so the backup's ledgers keep nothing for them.
        without_syncs = ErasureScope(scope.derived, ())
        inner_home = Home(Settings(**{**home.settings.model_dump(), "home": backup}))
        inner = scrub(inner_home, without_syncs, subject)
        if (backup / CHECKSUMS).exists():
            write_checksums(backup)
        files |= {f"{backup.relative_to(home.root)}/{name}": action for name, action in inner.files.items()}
    notify("forgetting: older snapshots")
    _drop_old_builds(home)
    return Forgotten(subject.entity_type, len(subject.ids), rows, files, len(backups), tuple(sorted(pending)))


def unknown_ids(connection: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> list[str]:
    """Those ids under which no table has a row, in their order."""
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
    left = set(ids)
    for schema, table, columns in tables:
        for column in columns:
            if not left:
                return []
            relation = f'"{schema}"."{table}"'
            found = f'select distinct trim("{column}") from {relation} where list_contains($ids, trim("{column}"))'
            if column == "raw_text":
                found = f"select distinct id from {relation}, unnest($ids) as ids(id) where contains(raw_text, id)"
            left -= {known for (known,) in connection.execute(found, {"ids": sorted(left)}).fetchall()}
    return [name for name in ids if name in left]


def with_delivered(home: Home, subject: Subject) -> Subject:
    """The subject with the identifiers under which it was delivered, such as an address that is no longer its own."""
    if subject.entity_type == "account":
        return subject
    known = set(subject.identifiers)
    for path in sorted(home.root.glob("sync_ledger.*.sqlite")):
        with SyncLedger(home, path) as ledger:
            known |= ledger.identifiers_of(subject.ids)
    return replace(subject, identifiers=tuple(sorted(known - set(subject.ids))))


def _rewrite_snapshot(home: Home) -> None:
    with home.connect() as connection:
        exists = "select 1 from duckdb_tables() where schema_name = 'traits' and table_name = 'builds'"
        newest = None
        if connection.execute(exists).fetchone():
            newest = connection.execute("select max(build_id) from traits.builds").fetchone()
        if newest and newest[0]:
            # A home or a backup of an earlier version lacks some of the tables.
            connection.execute(PUBLISHED_TABLES)
            write_snapshot(home, connection, newest[0])


def _drop_old_builds(home: Home) -> None:
    current = (home.serving / "current").resolve()
    for build in (home.serving / "builds").glob("*"):
        if build != current:
            shutil.rmtree(build)
    drop_old_lookups(home)
    write_copy(home, kept=0)


def backups_in(home: Home) -> Sequence[Path]:
    """Homes within the home: its backups, and what a restore has replaced. Drafts of them are deleted."""
    for draft in (*home.root.glob("backups/.*"), *home.root.glob(".restore-*")):
        shutil.rmtree(draft)
    return sorted(path for path in (*home.root.glob("backups/*"), *home.root.glob("replaced-*")) if path.is_dir())


def is_handled(home: Home, path: Path) -> bool:
    """Whether another step erases from this file, or it cannot hold an id."""
    first = path.relative_to(home.root).parts[0]
    return first in ("serving", "backups", INTENT, "lock", "lease", "sync.lock") or first.startswith(
        (home.warehouse.name, "sync_ledger.", "replaced-")
    )
