"""Homes that are made of backups (orchestration/admin/backup.py).

A restore is finished or has not begun. The backup is copied aside and compared with its checksums first. Then
``restore.json`` is written, and until every part is in its place and that file is gone, nothing but a restore takes the
home's lock. The link to the snapshot moves in one step, so a reader sees the earlier snapshot or the restored one.

What a home held before is kept in ``replaced-<time>``. Two things of it outlive the restore: a sync ledger, for it says
what destinations have today; and tombstones, for a subject that was forgotten since the backup was made is forgotten in
the restored home, too.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestration.admin.checksums import CHECKSUMS, verify_checksums
from orchestration.admin.erasure import ErasureScope, scrub
from orchestration.admin.subject import Subject, identifiers_of
from orchestration.damage import refuse_foreign
from orchestration.errors import DamagedFileError, UsageError
from orchestration.home import (
    HOME_VERSION,
    RESTORE_INTENT,
    Home,
    Notify,
    Settings,
    read_json,
    silent,
    utc_now,
    write_atomically,
)
from orchestration.landing.contract import RAW_TABLES
from orchestration.landing.tombstones import hash_sql
from orchestration.published.audit_log import PLAYS
from orchestration.published.lookup_file import KEYS
from orchestration.publishing.lookup import rewrite_lookup
from orchestration.publishing.snapshot import point_to
from orchestration.sync.engine import one_sync_at_a_time
from orchestration.transform.dbt import Project


@dataclass(frozen=True)
class Restored:
    """A home that was restored.

    Attributes:
        backup: from which folder.
        replaced: folder with what the home held before; null when it held nothing.
        forgotten: how many ids were forgotten since the backup was made, and erased again.

    """

    backup: str
    replaced: str | None
    forgotten: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def restore(project: Project, source: Path, *, force: bool = False, notify: Notify = silent) -> Restored:
    """Puts the state of a backup into a home; one that was cut off is finished first.

    Args:
        project: whose home is restored.
        source: folder of a backup, or the name of one in ``backups`` of the home.
        force: whether a home that holds something may be replaced; what it held is kept aside.
        notify: progress.

    Raises:
        UsageError: the folder is no backup or was changed, or the home holds something and force was not given.
        WarehouseBusyError: another process holds the warehouse, or is syncing.

    """
    if not source.is_dir() and (project.home.root / "backups" / source.name).is_dir():
        source = project.home.root / "backups" / source.name
    source = source.expanduser().absolute()
    home, purpose = project.home, "traithouse restore"
    with home.lease(purpose), home.lock(purpose, restoring=True), one_sync_at_a_time(home):
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
                "--force replaces it, and keeps what it holds in a folder beside it.",
            )
        notify("restore: checking the backup")
        _refuse_unusable(project.home, source)
        verify_checksums(source)
        draft = project.home.root / f".restore-{utc_now():%Y%m%dT%H%M%S%fZ}"
        notify("restore: copying")
        try:
            # With the rights of this process; those of the backup may be anybody's.
            shutil.copytree(source, draft, symlinks=True, copy_function=shutil.copyfile)
            for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir() and not path.is_symlink())):
                folder.chmod(0o700)
            verify_checksums(draft)
            inner = Home(Settings(**{**project.home.settings.model_dump(), "home": draft}))
            inner.prepare()
            forgotten = _forget_again(project.home, inner, project, notify)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        intent = {
            "backup": str(source),
            "draft": draft.name,
            "replaced": draft.name.replace(".restore", "replaced") if project.home.warehouse.exists() else None,
            "forgotten": forgotten,
        }
        write_atomically(project.home.root / RESTORE_INTENT, json.dumps(intent))
        return _put_in_place(project.home, notify)


def _refuse_unusable(home: Home, source: Path) -> None:
    """Refuses what no restore can use, before all of it is read.

    Raises:
        UsageError: it holds no warehouse or the home itself, a later version made it, or it is larger than the disk.
        DamagedFileError: its warehouse is none.

    """
    if not (source / CHECKSUMS).exists():
        return
    another = "Restore another backup."
    if home.root.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"The home {home.root} lies in the backup {source}.", "Move the backup out of the way.")
    if not (source / home.warehouse.name).exists():
        raise UsageError(f"The backup {source} holds no warehouse.", another)
    refuse_foreign(source / home.warehouse.name)
    version = read_json(source / "home.json").get("version")
    if version is not None and (type(version) is not int or version > HOME_VERSION):
        raise UsageError(
            f"The backup {source} has version {version}; this Traithouse reads version {HOME_VERSION}.",
            f"Use the version of Traithouse that made it. Or: {another}",
        )
    # A sparse file takes its full length when it is copied.
    needed = sum(path.lstat().st_size for path in source.rglob("*"))
    if needed > (free := shutil.disk_usage(home.root).free):
        raise UsageError(
            f"The backup {source} takes {needed:,} bytes, and {free:,} are free in {home.root}.",
            f"Free space. Or: {another}",
        )


def _put_in_place(home: Home, notify: Notify) -> Restored:
    """Moves each part of the draft to its place, and what was there aside; goes on from where it was cut off."""
    intent = read_json(home.root / RESTORE_INTENT)
    draft = home.root / intent["draft"]
    aside = home.root / (intent["replaced"] or ".restore-nothing")
    aside.mkdir(exist_ok=True)
    # What the home itself says about deliveries, acts and keys is newer, and holds.
    ledgers = [*sorted(path.name for path in draft.glob("sync_ledger.*.sqlite")), PLAYS, f"serving/{KEYS}"]
    log = f"{home.warehouse.name}.wal"
    if (home.root / log).exists() and (draft / home.warehouse.name).exists():
        # A killed process left this log of the replaced warehouse; DuckDB would apply it to the restored one.
        (home.root / log).replace(aside / log)
    for name in (home.warehouse.name, "status.json", *ledgers):
        part, place = draft / name, home.root / name
        if not part.exists():
            continue
        notify(f"restore: {name}")
        if name in ledgers and place.exists():
            continue
        if place.exists():
            place.replace(aside / name)
        place.parent.mkdir(exist_ok=True, mode=0o700)
        part.replace(place)
    notify("restore: the snapshot")
    _serve_restored(home, draft, aside)
    if intent["replaced"]:
        shutil.copyfile(home.root / "home.json", aside / "home.json")
    else:
        shutil.rmtree(aside)
    shutil.rmtree(draft, ignore_errors=True)
    (home.root / RESTORE_INTENT).unlink()
    replaced = str(aside) if intent["replaced"] else None
    return Restored(intent["backup"], replaced, intent["forgotten"])


def _serve_restored(home: Home, draft: Path, aside: Path) -> None:
    """Points readers to the restored snapshot and moves the others aside; a backup without a snapshot serves none."""
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
    rewrite_lookup(home)


def _forget_again(home: Home, inner: Home, project: Project, notify: Notify) -> int:
    """Erases from a copied backup who was forgotten in the home since it was made; returns how many ids.

    A warehouse that cannot be opened any more, which may be why a backup is restored, has no tombstones to read.
    """
    if not home.warehouse.exists():
        return 0
    try:
        with home.connect() as connection:
            connection.execute(RAW_TABLES)
            tombstones = connection.execute(
                "select salt, entity_type, id_hash, forgotten_at from raw.tombstones"
            ).fetchall()
    except (duckdb.Error, DamagedFileError):
        notify("restore: the old warehouse cannot be read; repeat every traithouse forget since the backup was made")
        return 0
    if not tombstones:
        return 0
    with inner.connect() as connection:
        connection.execute(RAW_TABLES)
        for salt, entity_type, id_hash, forgotten_at in tombstones:
            connection.execute(
                """
                insert into raw.tombstones (salt, entity_type, id_hash, forgotten_at)
                select $salt, $entity_type, $id_hash, $forgotten_at where not exists (
                    select 1 from raw.tombstones
                    where salt = $salt and entity_type = $entity_type and id_hash = $id_hash
                )
                """,
                {"salt": salt, "entity_type": entity_type, "id_hash": id_hash, "forgotten_at": forgotten_at},
            )
        users = _ids_with_tombstone(connection, "user")
        accounts = _ids_with_tombstone(connection, "account")
        events = _ids_with_tombstone(connection, "event")
    scope = ErasureScope.of(project)
    if users or events:
        with inner.connect() as connection:
            identifiers = identifiers_of(connection, users, scope.identifiers)
        scrub(inner, scope, Subject("user", users, events, identifiers), notify)
    if accounts:
        scrub(inner, scope, Subject("account", accounts), notify)
    return len(users) + len(accounts)


def _ids_with_tombstone(connection: duckdb.DuckDBPyConnection, entity_type: str) -> tuple[str, ...]:
    """Ids in a warehouse that have a tombstone of this type, sorted."""
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
                on t.entity_type = $entity_type and t.id_hash = {hash_sql("$entity_type", "ids.id", "t.salt")}
            """,
            {"entity_type": entity_type},
        ).fetchall()
        found |= {entity_id for (entity_id,) in rows}
    return tuple(sorted(found))
