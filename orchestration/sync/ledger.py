"""The sync ledger: what each destination has acknowledged, one commit a batch.

A SQLite file of its own, one an environment, so that a sync needs neither the warehouse nor its lock.

Of somebody who was forgotten it keeps, in clear, the id and what a destination has, for as long as that destination has
not acknowledged that it is cleared; then that row goes, too. What was never delivered anywhere is deleted at once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from orchestration.destinations import Failure, Record
from orchestration.project import House, utc_now

_TABLES = """
create table if not exists acknowledged (
    sync text, entity_type text, entity_id text, traits text, build_id text, acknowledged_at text,
    primary key (sync, entity_type, entity_id)
);
create table if not exists log (
    sync text, started_at text, ended_at text, build_id text, dry_run integer,
    planned integer, delivered integer, failed integer
);
create table if not exists failures (
    sync text, entity_type text, entity_id text, build_id text, reason text, failed_at text,
    primary key (sync, entity_type, entity_id)
);
create table if not exists forgotten (
    sync text, entity_type text, entity_id text, primary key (sync, entity_type, entity_id)
);
"""


@dataclass(frozen=True)
class LogEntry:
    """One run of one sync; instants are naive UTC."""

    sync: str
    started_at: str
    ended_at: str
    build_id: str
    dry_run: bool
    planned: int
    delivered: int
    failed: int


class SyncLedger:
    """Use as a context manager."""

    def __init__(self, house: House, path: Path | None = None) -> None:
        house.prepare()
        self._connection = sqlite3.connect(path or house.sync_ledger)
        self._connection.execute("pragma secure_delete = on")
        self._connection.executescript(_TABLES)

    def __enter__(self) -> SyncLedger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def acknowledged(self, sync: str, entity_type: str) -> dict[str, tuple[dict[str, Any], str]]:
        """Entity -> the trait values that the destination is known to have, and the build that they came from."""
        rows = self._connection.execute(
            "select entity_id, traits, build_id from acknowledged where sync = ? and entity_type = ?",
            (sync, entity_type),
        )
        return {entity: (json.loads(traits), build_id) for entity, traits, build_id in rows}

    def settle(self, sync: str, results: Iterable[tuple[Record, Failure | None]]) -> None:
        """Writes down a batch in one commit: acknowledged records, and failed ones with their reasons."""
        now = utc_now().isoformat(" ")
        with self._connection:
            for record, failure in results:
                key = (sync, record.entity_type, record.entity_id)
                self._connection.execute(
                    "delete from failures where sync = ? and entity_type = ? and entity_id = ?", key
                )
                if failure is None and record.forgotten:
                    for table in ("acknowledged", "forgotten"):
                        self._connection.execute(
                            f"delete from {table} where sync = ? and entity_type = ? and entity_id = ?", key
                        )
                elif failure is None:
                    self._connection.execute(
                        "insert or replace into acknowledged values (?, ?, ?, ?, ?, ?)",
                        (*key, json.dumps(record.traits, sort_keys=True), record.build_id, now),
                    )
                else:
                    self._connection.execute(
                        "insert into failures values (?, ?, ?, ?, ?, ?)",
                        (*key, record.build_id, failure.reason, now),
                    )

    def log(self, entry: LogEntry) -> None:
        """Keeps one run."""
        with self._connection:
            self._connection.execute("insert into log values (?, ?, ?, ?, ?, ?, ?, ?)", tuple(vars(entry).values()))

    def log_rows(self) -> list[tuple[Any, ...]]:
        """Rows of traits.sync_log."""
        return self._connection.execute("select * from log order by started_at").fetchall()

    def failure_rows(self) -> list[tuple[Any, ...]]:
        """Rows of traits.sync_failures: what has failed and was not delivered since; no id of the forgotten."""
        return self._connection.execute(
            """
            select
                x.sync, x.entity_type, case when f.sync is null then x.entity_id else '(forgotten)' end,
                x.build_id, x.reason, x.failed_at
            from failures as x left join forgotten as f using (sync, entity_type, entity_id)
            order by x.sync, x.entity_type, x.entity_id
            """
        ).fetchall()

    def forgotten(self, sync: str, entity_type: str) -> set[str]:
        """Entities that were forgotten here, and that the destination still has."""
        rows = self._connection.execute(
            "select entity_id from forgotten where sync = ? and entity_type = ?", (sync, entity_type)
        )
        return {entity for (entity,) in rows}

    def forget(self, entity_type: str, ids: Sequence[str], syncs: Sequence[str]) -> list[str]:
        """Deletes what is known of entities, but for what destinations of declared syncs still have to clear.

        Returns the names of these syncs.
        """
        marks = {name: ", ".join("?" * len(values)) for name, values in (("ids", ids), ("syncs", syncs))}
        theirs = f"entity_type = ? and entity_id in ({marks['ids']})"
        with self._connection:
            self._connection.execute(f"delete from failures where {theirs}", (entity_type, *ids))
            self._connection.execute(
                f"delete from acknowledged where {theirs} and (sync not in ({marks['syncs']})"
                " or not exists (select 1 from json_each(traits) where value is not null))",
                (entity_type, *ids, *syncs),
            )
            self._connection.execute(
                f"insert or ignore into forgotten select sync, entity_type, entity_id from acknowledged where {theirs}",
                (entity_type, *ids),
            )
            pending = self._connection.execute(
                f"select distinct sync from forgotten where {theirs} order by sync", (entity_type, *ids)
            ).fetchall()
        self._connection.execute("vacuum")
        return [sync for (sync,) in pending]
