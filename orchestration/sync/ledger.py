"""The sync ledger: what each destination has acknowledged, and what it may have without an acknowledgement.

It is a SQLite file, one an environment, so that a sync needs neither the warehouse nor its lock. A batch is in doubt
from the commit before it is sent until the commit that says how it went: acknowledged, refused, or still in doubt. A
record in doubt is always sent again, because the destination may have something else. A record that was cleared is
kept, because the destination still has it and may be asked to delete it.

Of somebody who was forgotten, the ledger keeps the id and what a destination has, in clear, until that destination has
acknowledged that the record is deleted. What was never delivered is deleted at once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from orchestration.damage import ledger_trouble, refuse_foreign_ledger
from orchestration.destinations import Record
from orchestration.home import Home, utc_now
from orchestration.sync.ledger_schema import CLEARED, DeliveryResult, Run, Sent, create_tables
from orchestration.sync.settlement import end_forgotten, write_results

# The sync of a note that is about all of them.
EVERY_SYNC = "*"
_RUN_COLUMNS = tuple(column.name for column in fields(Run))


class SyncLedger:
    """The open ledger of a home; use it as a context manager. Each method that writes is one commit."""

    def __init__(self, home: Home, path: Path | None = None) -> None:
        home.prepare()
        self._file = file = path or home.sync_ledger
        try:
            self._connection = sqlite3.connect(file)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("pragma secure_delete = on")
            refuse_foreign_ledger(file, self._connection)
            create_tables(self._connection)
        except sqlite3.Error as error:
            raise ledger_trouble(file, error) from None

    def __enter__(self) -> SyncLedger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
        if isinstance(error, sqlite3.Error):
            raise ledger_trouble(self._file, error) from None

    def _first(self, sql: str, **given: object) -> Any:
        """The first row of a query, or nothing."""
        return self._connection.execute(sql, given).fetchone()

    def _texts(self, sql: str, **given: object) -> list[str]:
        """The single column of a query."""
        return [text for (text,) in self._connection.execute(sql, given)]

    def sent(self, sync: str) -> dict[str, Sent]:
        """Identifier -> what the destination is known to have."""
        return self._sent(sync, "source != :cleared")

    def cleared(self, sync: str) -> dict[str, Sent]:
        """Identifier -> what is left of a record that was cleared."""
        return self._sent(sync, "source = :cleared")

    def _sent(self, sync: str, condition: str) -> dict[str, Sent]:
        rows = self._connection.execute(
            f"""
            select identifier, entity_id, source, build_id, fields, acknowledged_at from sent
            where sync = :sync and {condition}
            """,
            {"sync": sync, "cleared": CLEARED},
        )
        return {
            identifier: Sent(entity_id, source, build_id, fields=values, after=acknowledged_at)
            for identifier, entity_id, source, build_id, values, acknowledged_at in rows
        }

    def in_doubt(self, sync: str) -> dict[str, Sent]:
        """Identifier -> what the destination may have: it was sent, and no answer is known."""
        rows = self._connection.execute(
            "select identifier, entity_id, build_id, fields, after, record_id from in_doubt where sync = :sync",
            {"sync": sync},
        )
        return {
            identifier: Sent(entity_id, "", build_id, fields=values, after=after, record_id=record_id)
            for identifier, entity_id, build_id, values, after, record_id in rows
        }

    def has_pending(self, sync: str) -> bool:
        """Whether there is something to do whatever is published: a record in doubt, or somebody to be forgotten."""
        return any(
            self._first(f"select 1 from {table} where sync = :sync limit 1", sync=sync)
            for table in ("in_doubt", "forgotten")
        )

    def refused(self, sync: str) -> dict[str, str]:
        """Identifier -> source of a record that was refused; it is not sent again until its source changes."""
        rows = self._connection.execute(
            "select identifier, source from dead_letters where sync = :sync and kind = 'refused'", {"sync": sync}
        )
        return {row["identifier"]: row["source"] for row in rows}

    def begin_run(self, sync: str) -> None:
        """Marks what an interrupted run left in doubt as unanswered, and takes back the note that all is delivered."""
        with self._connection:
            self._connection.execute("update in_doubt set unanswered = 1 where sync = :sync", {"sync": sync})
            self._connection.execute("delete from notes where sync = :sync and name = 'settled'", {"sync": sync})
            end_forgotten(self._connection)

    def settle(
        self,
        results: Sequence[DeliveryResult] = (),
        begun: Iterable[Record] = (),
        *,
        unanswered: Mapping[str, Iterable[str]] = MappingProxyType({}),
        operations: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """Writes in one commit how records went, and which are sent next.

        Args:
            results: acknowledged, refused, or still in doubt.
            begun: records to put in doubt; call this before they are sent. Their fields include those of an earlier
                record in doubt, so that none of these is lost.
            unanswered: sync -> identifiers that were sent at least once without an answer, whatever came later.
            operations: sync -> what the vendor bills for these results; counted on today's UTC day.

        """
        now = utc_now().isoformat(" ")
        with self._connection:
            write_results(self._connection, results, begun, unanswered, operations, now)

    def mark_as_baseline(self, records: Sequence[Record]) -> None:
        """Counts records as acknowledged without sending them: for a sync that starts from now on."""
        self.settle([DeliveryResult(record) for record in records])

    def update_sources(self, sync: str, sources: Mapping[str, str]) -> None:
        """Writes new sources (identifier -> source) of acknowledged records whose fields stayed as they were."""
        with self._connection:
            self._connection.executemany(
                "update sent set source = :source where sync = :sync and identifier = :identifier",
                [{"source": source, "sync": sync, "identifier": identifier} for identifier, source in sources.items()],
            )

    def start_over(self, sync: str) -> None:
        """Deletes all that is known of a sync's destination, because the sync names another one now."""
        with self._connection:
            for table in ("sent", "in_doubt", "dead_letters"):
                self._connection.execute(f"delete from {table} where sync = :sync", {"sync": sync})
            self._connection.execute("delete from notes where sync = :sync and name != 'paused'", {"sync": sync})
            # The new place may be the old one after all: the same values sent again must count as another change.
            self._connection.execute(
                "insert into notes (sync, name, value) values (:sync, 'deleted', :now)",
                {"sync": sync, "now": utc_now().isoformat(" ")},
            )

    def drop_dead_letters(self, sync: str, identifiers: Iterable[str]) -> None:
        """Drops dead letters of records that no longer have to be delivered."""
        with self._connection:
            self._connection.executemany(
                "delete from dead_letters where sync = :sync and identifier = :identifier",
                [{"sync": sync, "identifier": identifier} for identifier in identifiers],
            )

    def dead_letters(self, sync: str) -> set[str]:
        """Identifiers that have a dead letter."""
        return set(self._texts("select identifier from dead_letters where sync = :sync", sync=sync))

    def note(self, sync: str, name: str, value: str | None) -> None:
        """Keeps a fact about a sync (sync ``*``: about all syncs); no value deletes it."""
        with self._connection:
            self._connection.execute(
                "delete from notes where sync = :sync and name = :name", {"sync": sync, "name": name}
            )
            if value is not None:
                self._connection.execute(
                    "insert into notes (sync, name, value) values (:sync, :name, :value)",
                    {"sync": sync, "name": name, "value": value},
                )

    def noted(self, sync: str, name: str) -> str | None:
        """The fact of this name, or nothing."""
        row = self._first("select value from notes where sync = :sync and name = :name", sync=sync, name=name)
        return str(row["value"]) if row else None

    def log(self, run: Run) -> None:
        """Keeps one run."""
        values = ", ".join(f":{column}" for column in _RUN_COLUMNS)
        with self._connection:
            self._connection.execute(f"insert into runs ({', '.join(_RUN_COLUMNS)}) values ({values})", asdict(run))

    def operations_on(self, sync: str, day: str) -> int:
        """Operations that were acknowledged on a UTC day (YYYY-MM-DD), also by runs that were interrupted."""
        row = self._first("select operations from spent where sync = :sync and day = :day", sync=sync, day=day)
        return int(row["operations"]) if row else 0

    def run_rows(self) -> list[dict[str, Any]]:
        """Rows of traits.sync_log by column name, oldest first; a run of an early version lacks later columns."""
        rows = self._connection.execute(f"select {', '.join(_RUN_COLUMNS)} from runs order by started_at")
        return [dict(row) for row in rows]

    def failure_rows(self, sync: str | None = None) -> list[dict[str, Any]]:
        """Rows of traits.sync_failures by column name: what failed and was not delivered since, of one sync or of all.

        The id of somebody who was forgotten is left out.
        """
        rows = self._connection.execute(
            """
            select
                x.sync, x.entity_type, case when f.sync is null then x.entity_id else '(forgotten)' end as entity_id,
                x.build_id, x.reason, x.failed_at, x.kind, x.tries, x.first_failed_at
            from dead_letters as x left join forgotten as f using (sync, entity_type, entity_id)
            where :sync is null or x.sync = :sync
            order by x.sync, x.entity_type, x.entity_id
            """,
            {"sync": sync},
        )
        return [dict(row) for row in rows]

    def forgotten(self, sync: str) -> set[str]:
        """Entities that were forgotten here, and that the destination still has."""
        return set(self._texts("select entity_id from forgotten where sync = :sync", sync=sync))

    def identifiers_of(self, ids: Sequence[str]) -> set[str]:
        """Identifiers under which users were sent."""
        found: set[str] = set()
        for table in ("sent", "in_doubt", "dead_letters"):
            sql = (
                f"select identifier from {table} where entity_type = 'user'"
                " and entity_id in (select value from json_each(:ids))"
            )
            found |= set(self._texts(sql, ids=json.dumps(list(ids))))
        return found

    def records_of(self, entity_type: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        """What destinations have of entities, may have, or refused: one row a sync, identifier and state."""
        theirs = "where entity_type = :entity_type and entity_id in (select value from json_each(:ids))"
        rows = self._connection.execute(
            f"""
            select
                sync, identifier, entity_id,
                case when source = :cleared then 'cleared' else 'acknowledged' end as state,
                fields, build_id, acknowledged_at as at, null as reason
            from sent {theirs}
            union all
            select sync, identifier, entity_id, 'in doubt', fields, build_id, begun_at, null from in_doubt {theirs}
            union all
            select sync, identifier, entity_id, kind, null, build_id, failed_at, reason from dead_letters {theirs}
            order by 1, 2, 4
            """,
            {"entity_type": entity_type, "ids": json.dumps(list(ids)), "cleared": CLEARED},
        )
        return [dict(row) for row in rows]

    def forget(self, entity_type: str, ids: Sequence[str], syncs: Sequence[str]) -> list[str]:
        """Deletes what is known of entities, except what destinations of declared syncs still have to delete.

        Returns the names of these syncs.
        """
        given = {"entity_type": entity_type, "ids": json.dumps(list(ids)), "syncs": json.dumps(list(syncs))}
        theirs = "entity_type = :entity_type and entity_id in (select value from json_each(:ids))"
        with self._connection:
            self._connection.execute(f"delete from dead_letters where {theirs}", given)
            for table in ("sent", "in_doubt"):
                self._connection.execute(
                    f"delete from {table} where {theirs} and sync not in (select value from json_each(:syncs))", given
                )
                self._connection.execute(
                    f"""
                    insert or ignore into forgotten (sync, entity_type, entity_id)
                    select distinct sync, entity_type, entity_id from {table} where {theirs}
                    """,
                    given,
                )
            pending = self._texts(f"select distinct sync from forgotten where {theirs} order by sync", **given)
        self._connection.execute("vacuum")
        return pending
