"""Lands a batch: its records become rows of schema raw under one load_id, with one row in raw.loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import duckdb

from orchestration.declarations.own_deliveries import own_delivery_sql
from orchestration.landing.batch import batch_columns
from orchestration.landing.events import land_events, map_fields
from orchestration.landing.sql import instant
from orchestration.landing.vendor import land_vendor_table

# Columns that say when a vendor's row happened, the best first; also spelt without underscores (receivedAt).
VENDOR_TIMES = (
    "timestamp",
    "occurred_at",
    "event_time",
    "derived_tstamp",
    "collector_tstamp",
    "received_at",
    "original_timestamp",
    "created_at",
)


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        load_id: number of the load; null when it added nothing.
        table: where the rows went.
        accepted: rows added.
        duplicates: rows that raw, or the same batch, already had.
        rejected: rows that are kept, with reasons, in raw.rejected_events.
        reasons: rejected rows by reason.
        forgotten: rows of data subjects who were forgotten; nothing of them is kept.
        refused: file -> why it could not be read; nothing of it was added.

    """

    load_id: int | None
    table: str
    accepted: int
    duplicates: int
    rejected: int
    reasons: dict[str, int]
    forgotten: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class LandingTarget:
    """Where a batch goes, and how its rows are read.

    Attributes:
        source: name of the source.
        table: with it the rows land unchanged in ``raw_<source>.<table>``, else as events in ``raw.events``.
        mapping: field of the raw event contract -> column.
        timezone: time zone of times without an offset.
        keep_repeats: equal rows of one file without an event_id are separate events.

    """

    source: str
    table: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    keep_repeats: bool = False


def land_batch(
    connection: duckdb.DuckDBPyConnection, target: LandingTarget, origins: Sequence[str], loaded_at: datetime
) -> LoadReport:
    """Lands the batch under the next load_id and records it in raw.loads; call this within a transaction.

    A batch that adds nothing gets no load_id.

    Raises:
        UsageError: its columns do not give an event.

    """
    columns = batch_columns(connection)
    load_id = _scalar(connection, "select coalesce(max(load_id), 0) + 1 from raw.loads")
    if target.table:
        relation = land_vendor_table(connection, target.source, target.table, columns, load_id, loaded_at)
    else:
        relation = "raw.events"
        fields = map_fields(columns, target.mapping)
        land_events(connection, fields, target.timezone, target.source, target.keep_repeats, load_id, loaded_at)
    _keep_rejected(connection, target.source, load_id, loaded_at)
    report = _report(connection, relation, load_id)
    if report.load_id is not None:
        newest = _newest_event_at(connection, relation, target, load_id, loaded_at)
        connection.execute(
            """
            insert into raw.loads (
                load_id, source, table_name, files, loaded_at, accepted, duplicates, rejected, newest_event_at
            )
            values (
                $load_id, $source, $table_name, $files, $loaded_at, $accepted, $duplicates, $rejected, $newest_event_at
            )
            """,
            {
                "load_id": load_id,
                "source": target.source,
                "table_name": report.table,
                "files": list(origins),
                "loaded_at": loaded_at,
                "accepted": report.accepted,
                "duplicates": report.duplicates,
                "rejected": report.rejected,
                "newest_event_at": newest,
            },
        )
    return report


def load_totals(connection: duckdb.DuckDBPyConnection) -> dict[str, object]:
    """Totals over all loads, and the newest load of each source, for status and sensor; empty without any load."""
    row = connection.execute(
        """
        select max(load_id), sum(accepted), sum(duplicates), sum(rejected), max(newest_event_at), max(loaded_at)
        from raw.loads
        """
    ).fetchone()
    if row is None or row[0] is None:
        return {}
    load_id, accepted, duplicates, rejected, newest, loaded_at = row
    sources = connection.execute(
        "select source, max(loaded_at), max(newest_event_at) from raw.loads group by source order by source"
    ).fetchall()
    return {
        "load_id": load_id,
        "accepted": int(accepted),
        "duplicates": int(duplicates),
        "rejected": int(rejected),
        "newest_event_at": newest,
        "loaded_at": loaded_at,
        "sources": {source: {"loaded_at": loaded, "newest_event_at": newest} for source, loaded, newest in sources},
    }


def _keep_rejected(connection: duckdb.DuckDBPyConnection, source: str, load_id: int, loaded_at: datetime) -> None:
    """Keeps each rejected record once, however often it was loaded."""
    connection.execute(
        """
        insert into raw.rejected_events
        select $source, file, record_number, reason, raw_text, $loaded_at, $load_id
        from parsed
        where reason is not null and not exists (
            select 1 from raw.rejected_events as known
            where known.source = $source and known.file = parsed.file and known.raw_text = parsed.raw_text
                and known.record_number = parsed.record_number and known.reason = parsed.reason
        )
        """,
        {"source": source, "loaded_at": loaded_at, "load_id": load_id},
    )


def _report(connection: duckdb.DuckDBPyConnection, relation: str, load_id: int) -> LoadReport:
    accepted = _scalar(connection, f"select count(*) from {relation} where load_id = {load_id}")
    kept = _scalar(connection, f"select count(*) from raw.rejected_events where load_id = {load_id}")
    good = _scalar(connection, "select count(*) from parsed where reason is null")
    withdrawn = _scalar(connection, "select count(*) from forgotten_records where file is null")
    reasons = connection.execute(
        "select reason, count(*) from parsed where reason is not null group by reason order by 2 desc, 1"
    ).fetchall()
    return LoadReport(
        load_id=load_id if accepted or kept else None,
        table=relation.replace('"', ""),
        accepted=accepted,
        duplicates=good - accepted - withdrawn,
        rejected=sum(count for _, count in reasons),
        reasons=dict(reasons),
        forgotten=_scalar(connection, "select count(*) from forgotten_records"),
    )


def _newest_event_at(
    connection: duckdb.DuckDBPyConnection, relation: str, target: LandingTarget, load_id: int, loaded_at: datetime
) -> datetime | None:
    """When the newest row of a load happened: naive UTC, or null when no column says so.

    What Traithouse itself delivered does not count, whatever source it comes back through.
    A vendor's row is not judged at landing. So a time more than a day after loaded_at must not move the clock; events
    with such a time are quarantined after the adapter.
    """
    newest: datetime | None
    of_others = f"load_id = $load_id and not {_is_own_delivery(connection, relation)}"
    if not target.table:
        found = connection.execute(f"select max(occurred_at) from raw.events where {of_others}", {"load_id": load_id})
        (newest,) = found.fetchone() or (None,)
        return newest
    present = _vendor_times(connection, relation)
    if not present:
        return None
    readable = ", ".join(
        f"max({at}) filter ({at} >= timestamp '1970-01-01' and {at} <= $loaded_at + interval 1 day)"
        for at in (f"({instant(column)})" for column in present)
    )
    row = connection.execute(
        f"select coalesce({readable}) from {relation} where {of_others}",
        {"loaded_at": loaded_at, "load_id": load_id},
    ).fetchone()
    return row[0] if row else None


def _is_own_delivery(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    """SQL condition: whether a row is what Traithouse delivered; never null."""
    described = connection.execute(f"describe {relation}").fetchall()
    quoted = ((name, '"' + name.replace('"', '""') + '"') for name, *_ in described)
    return own_delivery_sql({name: f"cast({column} as varchar)" for name, column in quoted})


def vendor_time(connection: duckdb.DuckDBPyConnection, relation: str) -> str:
    """SQL for when a row of a vendor's table happened, naive UTC; empty when no column says so."""
    times = [f"({instant(column)})" for column in _vendor_times(connection, relation)]
    return f"coalesce({', '.join(times)})" if times else ""


def _vendor_times(connection: duckdb.DuckDBPyConnection, relation: str) -> list[str]:
    described = connection.execute(f"describe {relation}").fetchall()
    by_name = {_bare(name): '"' + name.replace('"', '""') + '"' for name, *_ in described}
    found = [by_name[_bare(name)] for name in VENDOR_TIMES if _bare(name) in by_name]
    if not found and "properties" in by_name:
        # Mixpanel keeps the time among the properties.
        found = [f"json_extract_string(try_cast({by_name['properties']} as json), '/time')"]
    return found


def _bare(name: str) -> str:
    return name.lower().replace("_", "")


def _scalar(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    return row[0] if row else None
