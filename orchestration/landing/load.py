"""Loads files into schema raw: append-only, repeatable, nothing lost.

Sources of the rules: the raw event contract (models/staging/generic/_generic.yml).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb
import pandas as pd

from orchestration.errors import UsageError
from orchestration.landing.contract import FIELDS, RAW_TABLES
from orchestration.landing.events import land_events, map_fields
from orchestration.landing.readers import Record, file_kind, read_records
from orchestration.landing.vendor import land_vendor_table
from orchestration.project import House, Notify, silent, utc_now

BATCH_ROWS = 50_000


@dataclass(frozen=True)
class LoadReport:
    """What a load did.

    Attributes:
        load_id: number of the load; null when it added nothing.
        accepted: rows added.
        duplicates: rows that raw, or the same files, already had.
        rejected: rows that were put aside, with reasons, in raw.rejected_events.
        reasons: rejected rows by reason.

    """

    load_id: int | None
    table: str
    accepted: int
    duplicates: int
    rejected: int
    reasons: dict[str, int]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def load(
    house: House,
    files: Sequence[Path],
    *,
    mapping: Mapping[str, str] | None = None,
    timezone: str = "UTC",
    source: str | None = None,
    table: str | None = None,
    keep_repeats: bool = False,
    now: datetime | None = None,
    notify: Notify = silent,
) -> LoadReport:
    """Loads files in one transaction.

    Args:
        house: where to.
        files: CSV, NDJSON or Parquet, also compressed.
        mapping: field of the raw event contract -> column; a field that is not named takes the column of its name.
        timezone: what a time without an offset is in.
        source: name of the source; events without one are of source ``generic``.
        table: with it, the rows land unchanged in ``raw_<source>.<table>``.
        keep_repeats: equal rows of one file without an event_id are separate events.
        now: loaded_at, naive UTC.
        notify: progress.

    Raises:
        UsageError: a wrong argument, an unreadable file, or no row accepted.
        WarehouseBusyError: another process holds the warehouse.

    """
    _check_arguments(files, mapping or {}, timezone, source, table, keep_repeats)
    for path in files:
        if not path.is_file():
            raise UsageError(f"There is no file {path}.", "Check the path.")
        file_kind(path)
    loaded_at = now or utc_now()
    with house.lock("traithouse load"), house.connect() as connection:
        connection.execute(RAW_TABLES)
        connection.execute("begin")
        columns = _read_into_landing(connection, files, notify)
        load_id = _scalar(connection, "select coalesce(max(load_id), 0) + 1 from raw.loads")
        if table:
            relation = land_vendor_table(connection, str(source), table, columns, load_id, loaded_at)
        else:
            relation = "raw.events"
            fields = map_fields(columns, mapping or {})
            land_events(connection, fields, timezone, source or "generic", keep_repeats, load_id, loaded_at)
        report = _report(connection, relation, source or "generic", load_id, loaded_at)
        if report.load_id is None:
            connection.execute("rollback")
        else:
            _record_load(connection, report, source, files, loaded_at)
            connection.execute("commit")
        house.note(loads=load_totals(connection))
    if not report.accepted and not report.duplicates:
        first = next(iter(report.reasons.items()), ("the files hold no rows", 0))
        raise UsageError(
            f"No row was accepted; {report.rejected} rejected, most of all: {first[0]}.",
            "Rejected rows are in raw.rejected_events with file, line and reason; --map names the columns.",
        )
    return report


def is_empty(house: House) -> bool:
    """Whether nothing was ever loaded."""
    with house.lock("traithouse load"), house.connect() as connection:
        connection.execute(RAW_TABLES)
        return connection.execute("select 1 from raw.loads limit 1").fetchone() is None


def load_totals(connection: duckdb.DuckDBPyConnection) -> dict[str, object]:
    """Totals over all loads, for status and sensor."""
    row = connection.execute(
        """
        select max(load_id), sum(accepted), sum(duplicates), sum(rejected), max(newest_event_at), max(loaded_at)
        from raw.loads where table_name = 'raw.events'
        """
    ).fetchone()
    names = ("load_id", "accepted", "duplicates", "rejected", "newest_event_at", "loaded_at")
    return {
        name: int(value) if name in names[:4] and value is not None else value
        for name, value in zip(names, row or (), strict=True)
    }


def _check_arguments(
    files: Sequence[Path],
    mapping: Mapping[str, str],
    timezone: str,
    source: str | None,
    table: str | None,
    keep_repeats: bool,
) -> None:
    if not files:
        raise UsageError("No file was named.", "traithouse load FILE...")
    unknown = sorted(set(mapping) - set(FIELDS))
    if unknown:
        raise UsageError(f"{unknown[0]} is not a field of an event.", f"Fields are: {', '.join(FIELDS)}.")
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise UsageError(f"{timezone} is not a time zone.", "Use a name such as Europe/Berlin.") from None
    if table and not source:
        raise UsageError("--table needs --source.", "traithouse load FILE --source segment --table tracks")
    if table and keep_repeats:
        raise UsageError("--keep-repeats does not go with --table.", "Equal rows of a vendor's table land once.")
    if table and mapping:
        raise UsageError("--map does not go with --table.", "A vendor's table lands as it is.")
    for name in filter(None, (source, table)):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise UsageError(f"{name!r} cannot be a name.", "Use lower case letters, digits and _.")


def _read_into_landing(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], notify: Notify) -> list[str]:
    """Fills a temporary table with the records of all files and returns the columns seen."""
    connection.execute(
        "create or replace temp table landing"
        " (file varchar, record_number bigint, raw_text varchar, row_json json, error varchar)"
    )
    count = 0
    for path in files:
        records = read_records(path)
        while batch := list(islice(records, BATCH_ROWS)):
            _insert(connection, path, batch)
            count += len(batch)
            notify(f"reading {path.name}: {count:,} rows")
    columns = connection.execute(
        "select distinct unnest(json_keys(row_json)) as name from landing where error is null order by name"
    ).fetchall()
    return [name for (name,) in columns]


def _insert(connection: duckdb.DuckDBPyConnection, path: Path, batch: Sequence[Record]) -> None:
    frame = pd.DataFrame(
        {
            "file": str(path),
            "record_number": [record.number for record in batch],
            "raw_text": pd.Series([record.raw for record in batch], dtype=object),
            "row_json": pd.Series([record.row for record in batch], dtype=object),
            "error": pd.Series([record.error for record in batch], dtype=object),
        }
    )
    connection.register("batch", frame)
    connection.execute("insert into landing select * from batch")
    connection.unregister("batch")


def _report(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    source: str,
    load_id: int,
    loaded_at: datetime,
) -> LoadReport:
    """Puts rejected records aside, once each, and counts."""
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
    accepted = _scalar(connection, f"select count(*) from {relation} where load_id = {load_id}")
    put_aside = _scalar(connection, f"select count(*) from raw.rejected_events where load_id = {load_id}")
    good = _scalar(connection, "select count(*) from parsed where reason is null")
    reasons = connection.execute(
        "select reason, count(*) from parsed where reason is not null group by reason order by 2 desc, 1"
    ).fetchall()
    return LoadReport(
        load_id=load_id if accepted or put_aside else None,
        table=relation.replace('"', ""),
        accepted=accepted,
        duplicates=good - accepted,
        rejected=sum(count for _, count in reasons),
        reasons=dict(reasons),
    )


def _record_load(
    connection: duckdb.DuckDBPyConnection,
    report: LoadReport,
    source: str | None,
    files: Sequence[Path],
    loaded_at: datetime,
) -> None:
    newest = None
    if report.table == "raw.events":
        newest = _scalar(connection, f"select max(occurred_at) from raw.events where load_id = {report.load_id}")
    connection.execute(
        "insert into raw.loads values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        [
            report.load_id,
            source or "generic",
            report.table,
            [str(path) for path in files],
            loaded_at,
            report.accepted,
            report.duplicates,
            report.rejected,
            newest,
        ],
    )


def _scalar(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    return row[0] if row else None
