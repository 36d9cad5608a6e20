"""Writes into the sync ledger how the records of some batches went, and which records are sent next."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestration.destinations import Failure, Record
from orchestration.sync.ledger_schema import CLEARED, DeliveryResult

_MARK_UNANSWERED = "update in_doubt set unanswered = 1 where sync = :sync and identifier = :identifier"
_END_DOUBT = "delete from in_doubt where sync = :sync and identifier = :identifier and not unanswered"
_ADD_DEAD_LETTER = """
insert into dead_letters (
    sync, identifier, entity_type, entity_id, source, build_id, reason, kind, tries, first_failed_at, failed_at
)
values (:sync, :identifier, :entity_type, :entity_id, :source, :build_id, :reason, :kind, 1, :now, :now)
on conflict (sync, identifier) do update set
    entity_id = excluded.entity_id, source = excluded.source, build_id = excluded.build_id,
    reason = excluded.reason, kind = excluded.kind, tries = tries + 1, failed_at = excluded.failed_at
"""
_COUNT_OPERATIONS = """
insert into spent (sync, day, operations) values (:sync, :day, :operations)
on conflict (sync, day) do update set operations = operations + excluded.operations
"""
_PUT_IN_DOUBT = """
insert into in_doubt (
    sync, identifier, entity_type, entity_id, fields, build_id, begun_at, unanswered, after, record_id
)
values (:sync, :identifier, :entity_type, :entity_id, :fields, :build_id, :now, 0, :after, :record_id)
on conflict (sync, identifier) do update set
    entity_id = excluded.entity_id, fields = excluded.fields, build_id = excluded.build_id,
    after = excluded.after, record_id = excluded.record_id
"""
_ADD_SENT = """
insert or replace into sent (sync, identifier, entity_type, entity_id, fields, source, build_id, acknowledged_at)
values (:sync, :identifier, :entity_type, :entity_id, :fields, :source, :build_id, :now)
"""


def write_results(
    connection: sqlite3.Connection,
    results: Sequence[DeliveryResult],
    begun: Iterable[Record],
    unanswered: Mapping[str, Iterable[str]],
    operations: Mapping[str, int],
    now: str,
) -> None:
    """Writes what ``SyncLedger.settle`` is given, as of now (naive UTC, as text); call it within a transaction."""
    write = connection.executemany
    failed = [(record, failure) for record, failure in results if failure is not None]
    # A refusal says nothing about a sending that got no answer.
    write(
        _MARK_UNANSWERED,
        [
            {"sync": sync, "identifier": identifier}
            for sync, identifiers in unanswered.items()
            for identifier in identifiers
        ],
    )
    _acknowledge(connection, [record for record, failure in results if failure is None], now)
    write(_MARK_UNANSWERED, [_key(record) for record, failure in failed if failure.again])
    write(_END_DOUBT, [_key(record) for record, failure in failed if not failure.again])
    write(_ADD_DEAD_LETTER, [_dead_letter(record, failure) | {"now": now} for record, failure in failed])
    write(
        _COUNT_OPERATIONS,
        [{"sync": sync, "day": now[:10], "operations": count} for sync, count in operations.items()],
    )
    write(
        _PUT_IN_DOUBT,
        [_row(record) | {"now": now, "after": record.after, "record_id": record.record_id} for record in begun],
    )
    end_forgotten(connection)


def _acknowledge(connection: sqlite3.Connection, records: Sequence[Record], now: str) -> None:
    write = connection.executemany
    keys = [_key(record) for record in records]
    for table in ("dead_letters", "in_doubt"):
        write(f"delete from {table} where sync = :sync and identifier = :identifier", keys)
    write(
        _ADD_SENT,
        [
            _row(record) | {"source": CLEARED if record.action == "clear" else record.source, "now": now}
            for record in records
            if record.action != "delete"
        ],
    )
    deleted = [_key(record) for record in records if record.action == "delete"]
    if deleted:
        write("delete from sent where sync = :sync and identifier = :identifier", deleted)
        # The same record made again later is another change; only this note tells the two apart.
        write(
            "insert or replace into notes (sync, name, value) values (:sync, 'deleted', :now)",
            [{"sync": sync, "now": now} for sync in {key["sync"] for key in deleted}],
        )


def end_forgotten(connection: sqlite3.Connection) -> None:
    """Ends the forgetting of entities of which the destination has nothing left, whoever has the identifier now."""
    connection.execute(
        """
        delete from forgotten where not exists (
            select 1 from sent as s where s.sync = forgotten.sync and s.entity_id = forgotten.entity_id
            union all
            select 1 from in_doubt as d where d.sync = forgotten.sync and d.entity_id = forgotten.entity_id
        )
        """
    )


def _key(record: Record) -> dict[str, str]:
    return {"sync": record.sync, "identifier": record.identifier}


def _row(record: Record) -> dict[str, Any]:
    """The columns that tables sent and in_doubt share."""
    return {
        **_key(record),
        "entity_type": record.entity_type,
        "entity_id": record.entity_id,
        "fields": json.dumps(record.fields, sort_keys=True),
        "build_id": record.build_id,
    }


def _dead_letter(record: Record, failure: Failure) -> dict[str, Any]:
    return {
        **_key(record),
        "entity_type": record.entity_type,
        "entity_id": record.entity_id,
        "source": record.source,
        "build_id": record.build_id,
        "reason": failure.reason,
        "kind": "unanswered" if failure.again else "refused",
    }
