"""The sync ledger: what each destination has acknowledged, and what it may have without our knowing.

A SQLite file of its own, one an environment, so that a sync needs neither the warehouse nor its lock. Every batch costs
one commit before it is sent (its records are in doubt) and one after (they are acknowledged, refused, or in doubt
still). A record in doubt is always sent again: whatever it says now, the destination may have something else.

Of somebody who was forgotten it keeps, in clear, the id and what a destination has, for as long as that destination has
not acknowledged that it is cleared; then that row goes, too. What was never delivered anywhere is deleted at once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from orchestration.destinations import Failure, Record
from orchestration.project import House, utc_now

_TABLES = """
create table if not exists sent (
    sync text, identifier text, entity_type text, entity_id text, fields text, source text, build_id text,
    acknowledged_at text, primary key (sync, identifier)
);
create table if not exists in_doubt (
    sync text, identifier text, entity_type text, entity_id text, fields text, build_id text, begun_at text,
    unanswered integer, primary key (sync, identifier)
);
create table if not exists dead_letters (
    sync text, identifier text, entity_type text, entity_id text, source text, build_id text, reason text,
    kind text, tries integer, first_failed_at text, failed_at text, primary key (sync, identifier)
);
create table if not exists runs (
    sync text, started_at text, ended_at text, build_id text, dry_run integer, planned integer, delivered integer,
    failed integer, skipped integer, not_tried integer, operations integer, retries integer, waited_seconds real,
    latency_p50_ms real, latency_p95_ms real, error text
);
create table if not exists notes (sync text, name text, value text, primary key (sync, name));
create table if not exists forgotten (
    sync text, entity_type text, entity_id text, primary key (sync, entity_type, entity_id)
);
"""

# What an earlier version kept: by entity, for there were no other identifiers.
_MIGRATION = """
insert or ignore into sent
    select sync, entity_id, entity_type, entity_id, traits, '', build_id, acknowledged_at from acknowledged;
drop table acknowledged;
insert or ignore into dead_letters
    select sync, entity_id, entity_type, entity_id, '', build_id, reason, 'refused', 1, failed_at, failed_at
    from failures;
drop table failures;
insert into runs (sync, started_at, ended_at, build_id, dry_run, planned, delivered, failed)
    select sync, started_at, ended_at, build_id, dry_run, planned, delivered, failed from log;
drop table log;
"""


@dataclass(frozen=True)
class Sent:
    """What a destination is known to have of one identifier.

    Attributes:
        entity_id: of whom.
        source: hash of the published values and the declaration that the fields were made from.
        build_id: the snapshot's build.
        fields: field -> value, as JSON.

    """

    entity_id: str
    source: str
    build_id: str
    fields: str


@dataclass(frozen=True)
class Run:
    """One run of one sync; instants are naive UTC, as text.

    Attributes:
        planned: records that had to be delivered.
        delivered: of these, acknowledged.
        failed: of these, refused or not answered.
        skipped: entities that were not sent for a reason that is no failure (no identifier, no consent, ...).
        not_tried: records left for the next run.
        operations: what the vendor bills or counts.
        retries: batches that were sent again.
        waited_seconds: how long limits and pauses held the run.
        latency_p50_ms: of a batch, from sending to acknowledgement.
        latency_p95_ms: likewise.
        error: the most frequent reason of failure.

    """

    sync: str
    started_at: str
    ended_at: str
    build_id: str
    dry_run: bool
    planned: int
    delivered: int
    failed: int
    skipped: int = 0
    not_tried: int = 0
    operations: int = 0
    retries: int = 0
    waited_seconds: float = 0.0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    error: str = ""


class SyncLedger:
    """Use as a context manager."""

    def __init__(self, house: House, path: Path | None = None) -> None:
        house.prepare()
        self._connection = sqlite3.connect(path or house.sync_ledger)
        self._connection.execute("pragma secure_delete = on")
        self._connection.executescript(_TABLES)
        if self._one("select 1 from sqlite_master where name = 'acknowledged'"):
            self._connection.executescript(f"begin; {_MIGRATION} commit;")

    def __enter__(self) -> SyncLedger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def _one(self, sql: str, given: Sequence[object] = ()) -> Any:
        return self._connection.execute(sql, given).fetchone()

    def sent(self, sync: str) -> dict[str, Sent]:
        """Identifier -> what the destination is known to have."""
        rows = self._connection.execute(
            "select identifier, entity_id, source, build_id, fields from sent where sync = ?", (sync,)
        )
        return {identifier: Sent(*rest) for identifier, *rest in rows}

    def in_doubt(self, sync: str) -> dict[str, Sent]:
        """Identifier -> what the destination may have: it was sent, and no answer is known."""
        rows = self._connection.execute(
            "select identifier, entity_id, '', build_id, fields from in_doubt where sync = ?", (sync,)
        )
        return {identifier: Sent(*rest) for identifier, *rest in rows}

    def refused(self, sync: str) -> dict[str, str]:
        """Identifier -> source of a record that was refused; it is not sent again until the source is another one."""
        rows = self._connection.execute(
            "select identifier, source from dead_letters where sync = ? and kind = 'refused'", (sync,)
        )
        return dict(rows)

    def begin_run(self, sync: str) -> None:
        """What a run that was cut off left in doubt has got no answer."""
        with self._connection:
            self._connection.execute("update in_doubt set unanswered = 1 where sync = ?", (sync,))

    def begin(self, records: Iterable[Record]) -> None:
        """Puts a batch in doubt, in one commit, before it is sent.

        The fields of a record are also those of an earlier one in doubt, so that none of these is lost.
        """
        now = utc_now().isoformat(" ")
        with self._connection:
            self._connection.executemany(
                """
                insert into in_doubt values (?, ?, ?, ?, ?, ?, ?, 0)
                on conflict (sync, identifier) do update set
                    entity_id = excluded.entity_id, fields = excluded.fields, build_id = excluded.build_id
                """,
                [
                    (one.sync, one.identifier, one.entity_type, one.entity_id, _json(one.fields), one.build_id, now)
                    for one in records
                ],
            )

    def settle(self, results: Iterable[tuple[Record, Failure | None]]) -> None:
        """Writes down how records went, in one commit: acknowledged, refused, or still in doubt."""
        now = utc_now().isoformat(" ")
        with self._connection:
            for record, failure in results:
                key = (record.sync, record.identifier)
                if failure is None:
                    self._drop(("dead_letters", "in_doubt"), key)
                    self._acknowledge(record, now)
                    continue
                # A refusal tells nothing of an earlier sending that got no answer.
                self._connection.execute(
                    "update in_doubt set unanswered = 1 where sync = ? and identifier = ?"
                    if failure.again
                    else "delete from in_doubt where sync = ? and identifier = ? and not unanswered",
                    key,
                )
                self._connection.execute(
                    """
                    insert into dead_letters values (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)
                    on conflict (sync, identifier) do update set
                        entity_id = excluded.entity_id, source = excluded.source, build_id = excluded.build_id,
                        reason = excluded.reason, kind = excluded.kind, tries = tries + 1,
                        failed_at = excluded.failed_at
                    """,
                    (
                        *key,
                        record.entity_type,
                        record.entity_id,
                        record.source,
                        record.build_id,
                        failure.reason,
                        "unanswered" if failure.again else "refused",
                        now,
                        now,
                    ),
                )

    def _acknowledge(self, record: Record, now: str) -> None:
        if record.action == "upsert":
            self._connection.execute(
                "insert or replace into sent values (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.sync,
                    record.identifier,
                    record.entity_type,
                    record.entity_id,
                    _json(record.fields),
                    record.source,
                    record.build_id,
                    now,
                ),
            )
            return
        self._drop(("sent",), (record.sync, record.identifier))
        if record.forgotten:
            self._connection.execute(
                "delete from forgotten where sync = ? and entity_type = ? and entity_id = ?"
                " and not exists (select 1 from sent as s where s.sync = forgotten.sync"
                " and s.entity_id = forgotten.entity_id)",
                (record.sync, record.entity_type, record.entity_id),
            )

    def _drop(self, tables: Iterable[str], key: tuple[str, str]) -> None:
        for table in tables:
            self._connection.execute(f"delete from {table} where sync = ? and identifier = ?", key)

    def take_as_sent(self, records: Sequence[Record]) -> None:
        """Counts records as acknowledged that were never sent: those of a sync that begins from now on."""
        self.settle((record, None) for record in records)

    def resource(self, sync: str, sources: Mapping[str, str]) -> None:
        """Notes new sources of records whose fields stayed as they were."""
        with self._connection:
            self._connection.executemany(
                "update sent set source = ? where sync = ? and identifier = ?",
                [(source, sync, identifier) for identifier, source in sources.items()],
            )

    def drop_letters(self, sync: str, identifiers: Iterable[str]) -> None:
        """Drops dead letters of records that no longer have to be delivered."""
        with self._connection:
            for identifier in identifiers:
                self._drop(("dead_letters",), (sync, identifier))

    def letters(self, sync: str) -> set[str]:
        """Identifiers that have a dead letter."""
        return {
            one for (one,) in self._connection.execute("select identifier from dead_letters where sync = ?", (sync,))
        }

    def note(self, sync: str, name: str, value: str | None) -> None:
        """Keeps a small fact of a sync (name ``*``: of all), or forgets it."""
        with self._connection:
            self._connection.execute("delete from notes where sync = ? and name = ?", (sync, name))
            if value is not None:
                self._connection.execute("insert into notes values (?, ?, ?)", (sync, name, value))

    def noted(self, sync: str, name: str) -> str | None:
        """The fact, or nothing."""
        row = self._one("select value from notes where sync = ? and name = ?", (sync, name))
        return str(row[0]) if row else None

    def log(self, run: Run) -> None:
        """Keeps one run."""
        marks = ", ".join("?" * len(fields(Run)))
        with self._connection:
            self._connection.execute(f"insert into runs values ({marks})", tuple(asdict(run).values()))

    def operations_on(self, sync: str, day: str) -> int:
        """Operations that runs begun on a UTC day (YYYY-MM-DD) have used."""
        row = self._one(
            "select coalesce(sum(operations), 0) from runs where sync = ? and substr(started_at, 1, 10) = ?",
            (sync, day),
        )
        return int(row[0])

    def run_rows(self) -> list[tuple[Any, ...]]:
        """Rows of traits.sync_log."""
        return self._connection.execute("select * from runs order by started_at").fetchall()

    def failure_rows(self) -> list[tuple[Any, ...]]:
        """Rows of traits.sync_failures: what has failed and was not delivered since; no id of the forgotten."""
        return self._connection.execute(
            """
            select
                x.sync, x.entity_type, case when f.sync is null then x.entity_id else '(forgotten)' end,
                x.build_id, x.reason, x.failed_at, x.kind, x.tries, x.first_failed_at
            from dead_letters as x left join forgotten as f using (sync, entity_type, entity_id)
            order by x.sync, x.entity_type, x.entity_id
            """
        ).fetchall()

    def forgotten(self, sync: str) -> set[str]:
        """Entities that were forgotten here, and that the destination still has."""
        return {one for (one,) in self._connection.execute("select entity_id from forgotten where sync = ?", (sync,))}

    def forget(self, entity_type: str, ids: Sequence[str], syncs: Sequence[str]) -> list[str]:
        """Deletes what is known of entities, but for what destinations of declared syncs still have to delete.

        Returns the names of these syncs.
        """
        marks = {name: ", ".join("?" * len(values)) for name, values in (("ids", ids), ("syncs", syncs))}
        theirs = f"entity_type = ? and entity_id in ({marks['ids']})"
        with self._connection:
            self._connection.execute(f"delete from dead_letters where {theirs}", (entity_type, *ids))
            for table in ("sent", "in_doubt"):
                self._connection.execute(
                    f"delete from {table} where {theirs} and sync not in ({marks['syncs']})",
                    (entity_type, *ids, *syncs),
                )
                self._connection.execute(
                    "insert or ignore into forgotten"
                    f" select distinct sync, entity_type, entity_id from {table} where {theirs}",
                    (entity_type, *ids),
                )
            pending = self._connection.execute(
                f"select distinct sync from forgotten where {theirs} order by sync", (entity_type, *ids)
            ).fetchall()
        self._connection.execute("vacuum")
        return [sync for (sync,) in pending]


def _json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True)
