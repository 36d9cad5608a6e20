"""The sync ledger: what each destination has acknowledged, and what it may have without our knowing.

A SQLite file of its own, one an environment, so that a sync needs neither the warehouse nor its lock. A batch is in
doubt from the commit before it is sent to the commit that says how it went: acknowledged, refused, or in doubt still. A
record in doubt is always sent again: whatever it says now, the destination may have something else. What was cleared is
remembered, with source ``gone``: the destination still has the record, and may be asked to delete it.

Of somebody who was forgotten it keeps, in clear, the id and what a destination has, for as long as that destination has
not acknowledged that it is cleared; then that row goes, too. What was never delivered anywhere is deleted at once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple

from orchestration.destinations import Failure, Record
from orchestration.home import Home, utc_now

_TABLES = """
create table if not exists sent (
    sync text, identifier text, entity_type text, entity_id text, fields text, source text, build_id text,
    acknowledged_at text, primary key (sync, identifier)
);
create table if not exists in_doubt (
    sync text, identifier text, entity_type text, entity_id text, fields text, build_id text, begun_at text,
    unanswered integer, after text, record_id text, primary key (sync, identifier)
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
create table if not exists spent (sync text, day text, operations integer, primary key (sync, day));
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


class Sent(NamedTuple):
    """What a destination is known to have of one identifier, or what it may have.

    Attributes:
        entity_id: of whom.
        source: hash of the published values and the declaration that the fields were made from.
        build_id: the snapshot's build.
        fields: field -> value, as JSON.
        after: when that was acknowledged; of a record in doubt, what it came after (``Record.after``).
        record_id: of a record in doubt, the change's own id.

    """

    entity_id: str
    source: str
    build_id: str
    fields: str
    after: str
    record_id: str = ""


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

    def __init__(self, home: Home, path: Path | None = None) -> None:
        home.prepare()
        self._connection = sqlite3.connect(path or home.sync_ledger)
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
        return self._sent(sync, "source != 'gone'")

    def cleared(self, sync: str) -> dict[str, Sent]:
        """Identifier -> what is left of a record that was cleared."""
        return self._sent(sync, "source = 'gone'")

    def _sent(self, sync: str, which: str) -> dict[str, Sent]:
        rows = self._connection.execute(
            f"select identifier, entity_id, source, build_id, fields, acknowledged_at from sent"
            f" where sync = ? and {which}",
            (sync,),
        )
        return {row[0]: Sent(*row[1:]) for row in rows}

    def in_doubt(self, sync: str) -> dict[str, Sent]:
        """Identifier -> what the destination may have: it was sent, and no answer is known."""
        rows = self._connection.execute(
            "select identifier, entity_id, '', build_id, fields, after, record_id from in_doubt where sync = ?",
            (sync,),
        )
        return {row[0]: Sent(*row[1:]) for row in rows}

    def is_unsure(self, sync: str) -> bool:
        """Whether there is something to do whatever is published: in doubt, or to be forgotten."""
        return any(
            self._one(f"select 1 from {table} where sync = ? limit 1", (sync,)) for table in ("in_doubt", "forgotten")
        )

    def refused(self, sync: str) -> dict[str, str]:
        """Identifier -> source of a record that was refused; it is not sent again until the source is another one."""
        rows = self._connection.execute(
            "select identifier, source from dead_letters where sync = ? and kind = 'refused'", (sync,)
        )
        return dict(rows)

    def begin_run(self, sync: str) -> None:
        """What a run that was cut off left in doubt has got no answer; and nothing is settled before this one ends."""
        with self._connection:
            self._connection.execute("update in_doubt set unanswered = 1 where sync = ?", (sync,))
            self._connection.execute("delete from notes where sync = ? and name = 'settled'", (sync,))
            self._end_forgotten()

    def settle(
        self,
        results: Sequence[tuple[Record, Failure | None]] = (),
        begun: Iterable[Record] = (),
        *,
        unanswered: Iterable[tuple[str, str]] = (),
        operations: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Writes down in one commit how records went, and which are sent next.

        Args:
            results: acknowledged, refused, or still in doubt.
            begun: put in doubt; call it before they are sent. Their fields have to be also those of an earlier record
                in doubt, so that none of these is lost.
            unanswered: sync and identifier of what was sent at least once without an answer, whatever came later.
            operations: by sync, what the vendor bills for these results; counted on the UTC day of now.

        """
        now = utc_now().isoformat(" ")
        acknowledged = [record for record, failure in results if failure is None]
        failed = [(record, failure) for record, failure in results if failure is not None]
        run = self._connection.executemany
        with self._connection:
            # A refusal tells nothing of a sending that got no answer.
            run("update in_doubt set unanswered = 1 where sync = ? and identifier = ?", unanswered)
            self._acknowledge(acknowledged, now)
            run("update in_doubt set unanswered = 1 where sync = ? and identifier = ?", _keys(failed, again=True))
            run("delete from in_doubt where sync = ? and identifier = ? and not unanswered", _keys(failed, again=False))
            run(
                """
                insert into dead_letters values (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)
                on conflict (sync, identifier) do update set
                    entity_id = excluded.entity_id, source = excluded.source, build_id = excluded.build_id,
                    reason = excluded.reason, kind = excluded.kind, tries = tries + 1,
                    failed_at = excluded.failed_at
                """,
                [
                    (
                        *(one.sync, one.identifier, one.entity_type, one.entity_id, one.source, one.build_id),
                        failure.reason,
                        "unanswered" if failure.again else "refused",
                        *(now, now),
                    )
                    for one, failure in failed
                ],
            )
            run(
                """
                insert into spent values (?, ?, ?)
                on conflict (sync, day) do update set operations = operations + excluded.operations
                """,
                [(sync, now[:10], count) for sync, count in operations.items()],
            )
            run(
                """
                insert into in_doubt values (?, ?, ?, ?, ?, ?, ?, 0, ?, ?)
                on conflict (sync, identifier) do update set
                    entity_id = excluded.entity_id, fields = excluded.fields, build_id = excluded.build_id,
                    after = excluded.after, record_id = excluded.record_id
                """,
                [
                    (
                        *(one.sync, one.identifier, one.entity_type, one.entity_id, _json(one.fields), one.build_id),
                        *(now, one.after, one.record_id),
                    )
                    for one in begun
                ],
            )
            self._end_forgotten()

    def _acknowledge(self, records: Sequence[Record], now: str) -> None:
        run = self._connection.executemany
        keys = [(one.sync, one.identifier) for one in records]
        for table in ("dead_letters", "in_doubt"):
            run(f"delete from {table} where sync = ? and identifier = ?", keys)
        run(
            "insert or replace into sent values (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    *(one.sync, one.identifier, one.entity_type, one.entity_id, _json(one.fields)),
                    *("gone" if one.action == "clear" else one.source, one.build_id, now),
                )
                for one in records
                if one.action != "delete"
            ],
        )
        deleted = [(one.sync, one.identifier) for one in records if one.action == "delete"]
        if deleted:
            run("delete from sent where sync = ? and identifier = ?", deleted)
            # What is made again later is another change, though nothing else tells of the first one any more.
            run("insert or replace into notes values (?, 'deleted', ?)", {(sync, now) for sync, _ in deleted})

    def _end_forgotten(self) -> None:
        """Somebody is forgotten there once the destination has nothing of theirs, whoever has the identifier now."""
        self._connection.execute(
            """
            delete from forgotten where not exists (
                select 1 from sent as s where s.sync = forgotten.sync and s.entity_id = forgotten.entity_id
                union all
                select 1 from in_doubt as d where d.sync = forgotten.sync and d.entity_id = forgotten.entity_id
            )
            """
        )

    def take_as_sent(self, records: Sequence[Record]) -> None:
        """Counts records as acknowledged that were never sent: those of a sync that begins from now on."""
        self.settle([(record, None) for record in records])

    def resource(self, sync: str, sources: Mapping[str, str]) -> None:
        """Notes new sources of acknowledged records, whose fields stayed as they were."""
        with self._connection:
            self._connection.executemany(
                "update sent set source = ? where sync = ? and identifier = ?",
                [(source, sync, identifier) for identifier, source in sources.items()],
            )

    def start_over(self, sync: str) -> None:
        """Forgets all that is known of a sync's destination, for it is another one now."""
        with self._connection:
            for table in ("sent", "in_doubt", "dead_letters"):
                self._connection.execute(f"delete from {table} where sync = ?", (sync,))
            self._connection.execute("delete from notes where sync = ? and name != 'paused'", (sync,))
            # The other place may be the same after all: a change that it has seen before is another one now.
            self._connection.execute("insert into notes values (?, 'deleted', ?)", (sync, utc_now().isoformat(" ")))

    def drop_letters(self, sync: str, identifiers: Iterable[str]) -> None:
        """Drops dead letters of records that no longer have to be delivered."""
        with self._connection:
            self._connection.executemany(
                "delete from dead_letters where sync = ? and identifier = ?", [(sync, one) for one in identifiers]
            )

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
        """Operations that were acknowledged on a UTC day (YYYY-MM-DD), also by runs that were cut off."""
        row = self._one("select operations from spent where sync = ? and day = ?", (sync, day))
        return int(row[0]) if row else 0

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


def _keys(failed: Iterable[tuple[Record, Failure]], *, again: bool) -> list[tuple[str, str]]:
    return [(one.sync, one.identifier) for one, failure in failed if failure.again is again]


def _json(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, sort_keys=True)
