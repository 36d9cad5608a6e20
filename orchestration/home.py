"""Where things are: settings, the home folder, its lock and the warehouse connection."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from threading import get_ident
from typing import Any, Literal

import duckdb
from filelock import FileLock, Timeout
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestration.damage import refuse_foreign, refuse_foreign_tables, warehouse_trouble
from orchestration.errors import DamagedFileError, TraithouseError, UsageError, WarehouseBusyError
from orchestration.migrations import migrate

PROJECT_ROOT = Path(__file__).resolve().parent.parent
# What each version changed stands in migrations.py.
HOME_VERSION = 3
RESTORE_INTENT = "restore.json"

Notify = Callable[[str], None]
"""Told, in a few words, what happens now; progress for a terminal or a run log."""


def silent(message: str) -> None:
    """Progress for nobody."""


def utc_now() -> datetime:
    """The wall clock, as a naive UTC instant; never read by a model."""
    return datetime.now(UTC).replace(tzinfo=None)


class Settings(BaseSettings):
    """Read from the environment, each under ``TRAITHOUSE_`` and the field's name. No secret is held here."""

    model_config = SettingsConfigDict(env_prefix="TRAITHOUSE_", frozen=True, extra="ignore")

    project: Path = PROJECT_ROOT
    home: Path = PROJECT_ROOT / ".traithouse"
    target: Literal["duckdb", "spark"] = "duckdb"
    env: str = "development"
    builds_kept: int = Field(default=5, ge=1)
    # None: for ever. Settings and no vars of dbt, for another var rebuilds everything.
    raw_days: int | None = Field(default=None, ge=1)
    ledger_days: int | None = Field(default=None, ge=1)
    memory_limit: str = "3.7GB"
    # DuckDB holds buffers for each of its threads.
    increment_memory_limit: str = f"{340 * (os.cpu_count() or 1)}MB"
    lock_wait_seconds: float = 1
    # A folder or an object store to which each publish copies what replicas of the API serve; empty for none.
    serve_to: str = ""

    @property
    def is_production(self) -> bool:
        """Only here do remote destinations get real deliveries."""
        return self.env == "production"

    @property
    def on_spark(self) -> bool:
        """Whether models run on Spark, where what is published is served too; the home stays in charge."""
        return self.target == "spark"


class ProcessLock:
    """An OS lock on a file, with a note beside it of who holds it; the kernel frees it when its holder dies.

    It belongs to the process, and whoever has it may take it again: a step may take what its whole run already holds.
    """

    def __init__(self, path: Path, what: str, hint: str) -> None:
        self._path, self._what, self._hint = path, what, hint
        self._note = path.with_name(f"{path.name}.json")

    @contextmanager
    def held(self, purpose: str, wait_seconds: float) -> Iterator[None]:
        """Takes it, waiting so long for another process.

        Raises:
            WarehouseBusyError: another process still holds it.

        """
        lock = FileLock(self._path, is_singleton=True, thread_local=False)
        try:
            lock.acquire(timeout=wait_seconds)
        except Timeout:
            raise WarehouseBusyError(f"{self._what}: {self._holder()}.", self._hint) from None
        try:
            if lock.lock_counter == 1:
                note = {"pid": os.getpid(), "purpose": purpose, "since": utc_now().isoformat()}
                write_atomically(self._note, json.dumps(note))
            yield
        finally:
            if lock.lock_counter == 1:
                self._note.unlink(missing_ok=True)
            lock.release()

    def holder(self) -> str | None:
        """Who holds it now, in words; nothing when nobody does."""
        try:
            with FileLock(self._path, timeout=0) if self._path.exists() else nullcontext():
                return None
        except OSError as error:  # also where it may only be read
            return self._holder() if isinstance(error, Timeout) else None

    def _holder(self) -> str:
        try:
            note = json.loads(self._note.read_text())
            since = note["since"][:19].replace("T", " ")
            return f"`{note['purpose']}` (process {note['pid']}) has held it since {since} UTC"
        except (OSError, ValueError, KeyError):
            return "another process holds it"


class Home:
    """One home folder and everything in it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.root = self.settings.home.expanduser().absolute()
        self.warehouse = self.root / "warehouse.duckdb"
        self.serving = self.root / "serving"
        self.outbox = self.root / "outbox"
        self.inbox = self.root / "inbox"
        self.dbt_target = self.root / "dbt"
        self.logs = self.root / "logs"
        self.sync_ledger = self.root / f"sync_ledger.{self.settings.env}.sqlite"
        self._status_file = self.root / "status.json"
        self._lock = ProcessLock(
            self.root / "lock",
            "The warehouse is busy",
            "Wait until it has ended; `traithouse status` works meanwhile.",
        )
        self._lease = ProcessLock(
            self.root / "lease",
            "Another run makes or publishes a build",
            "Wait until it has ended; `traithouse status` works meanwhile, and so does `traithouse load`.",
        )

    def prepare(self) -> None:
        """Makes the folder, or migrates one of an earlier version; refuses one of a later version.

        What this process makes from here on, also outside the home, is readable by its owner only.

        Raises:
            WarehouseBusyError: the home has to be migrated, and another process holds it.
            TraithouseError: a later version made it, or home.json is damaged.

        """
        os.umask(0o077)
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        marker = self.root / "home.json"
        if not marker.exists():
            write_atomically(marker, json.dumps({"version": HOME_VERSION}))
        made = read_json(marker)
        version = made.get("version")
        if type(version) is not int:
            raise DamagedFileError(
                f"{marker} is damaged: it does not name the version of the home.",
                f'Take it from a backup; or write {{"version": {HOME_VERSION}}}, where this version made the home.',
            )
        if version not in range(1, HOME_VERSION + 1):
            raise TraithouseError(
                f"The home {self.root} has version {version}; this Traithouse reads version {HOME_VERSION}.",
                "Use the version of Traithouse that made it, or another home (--home).",
            )
        if made != {"version": HOME_VERSION}:
            self._migrate(marker)

    def _migrate(self, marker: Path) -> None:
        """Brings the home to this version; a migration that was cut off goes on, and a restore is finished first."""
        if (self.root / RESTORE_INTENT).exists():
            return
        with self._lock.held("traithouse, migrating the home", self.settings.lock_wait_seconds):
            made = read_json(marker)
            version = made.get("from", made["version"])
            if version == HOME_VERSION:  # another process was first
                return
            # Earlier versions refuse the home from here on.
            write_atomically(marker, json.dumps({"version": HOME_VERSION, "from": version}))
            with self._told():
                migrate(self.root, version)
            write_atomically(marker, json.dumps({"version": HOME_VERSION}))

    def need_models_here(self, what: str) -> None:
        """Refuses what reads all that the models make, or runs them over the past, in the home.

        Raises:
            UsageError: the engine is Spark.

        """
        if self.settings.on_spark:
            raise UsageError(
                f"{what} runs the models in DuckDB, and the engine is spark.",
                "Use a home of its own with --target duckdb for it.",
            )

    @contextmanager
    def lock(self, purpose: str, *, restoring: bool = False) -> Iterator[None]:
        """Holds the one right to write the warehouse, for one step; shared by command line and Dagster.

        Raises:
            WarehouseBusyError: another process holds it.
            TraithouseError: a restore was cut off, and this is none.

        """
        self.prepare()
        with self._lock.held(purpose, self.settings.lock_wait_seconds):
            if (self.root / RESTORE_INTENT).exists() and not restoring:
                raise TraithouseError("A restore of this home was cut off.", "traithouse restore BACKUP finishes it.")
            yield

    @contextmanager
    def lease(self, purpose: str) -> Iterator[None]:
        """Holds the one right to begin a build and to change what is published, from a build's begin to its publish.

        Between these two steps the warehouse may be locked by others, which load events, learn or copy. Take the lease
        before the lock, never under it: two processes that each hold what the other wants wait in vain.

        Raises:
            WarehouseBusyError: another process holds it.

        """
        self.prepare()
        with self._lease.held(purpose, self.settings.lock_wait_seconds):
            yield

    def busy(self) -> str | None:
        """Who holds the warehouse now, in words; nothing when nobody does."""
        return self._lock.holder()

    def leased(self) -> str | None:
        """Who makes or publishes a build now, in words; nothing when nobody does."""
        return self._lease.holder()

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Opens the warehouse for writing and closes it; call it under the lock.

        Raises:
            WarehouseBusyError: a process that does not know the lock has the file open.
            DamagedFileError: the file is damaged, or no DuckDB database of this version.
            TraithouseError: this user may not open it, or the disk is full.

        """
        self.prepare()
        with self._told():
            connection = duckdb.connect(str(self.warehouse))
            try:
                refuse_foreign_tables(self.warehouse, connection)
                connection.execute("set TimeZone = 'UTC'; set memory_limit = $1", [self.settings.memory_limit])
                yield connection
            finally:
                connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Says what is wrong with the warehouse; an error that is not about its file stays as it is."""
        refuse_foreign(self.warehouse)
        try:
            yield
        except duckdb.Error as error:
            raise warehouse_trouble(self.warehouse, error) or error from None

    def status(self) -> dict[str, Any]:
        """What the last load and the running or last refresh wrote down; readable at any time."""
        return read_json(self._status_file)

    def note(self, **entries: object) -> None:
        """Merges entries into the status file; call it under the lock."""
        self.prepare()
        write_atomically(self._status_file, json.dumps({**self.status(), **entries}, default=str, indent=1))


def read_json(path: Path) -> dict[str, Any]:
    """Reads a derived file; one that is missing or broken is empty, and is written anew by the next run."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, IsADirectoryError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replaces a file so that a reader sees the old content or the new one, never a part; its rights stay."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}")
    try:
        draft.write_bytes(content if isinstance(content, bytes) else content.encode())
        if path.exists():
            draft.chmod(path.stat().st_mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
