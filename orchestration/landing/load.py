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
from orchestration.landing.readers import Record, file_kind, read_records
from orchestration.project import House, Notify, silent, utc_now

BATCH_ROWS = 50_000
EVENT_TYPES = ("track", "page", "screen", "identify", "group", "alias")
TEXT_FIELDS = (
    "event_id",
    "event_type",
    "event_name",
    "user_id",
    "anonymous_id",
    "previous_id",
    "account_id",
    "session_id",
    "source",
)
TIME_FIELDS = ("occurred_at", "received_at")
OBJECT_FIELDS = ("properties", "context")
FIELDS = TEXT_FIELDS + TIME_FIELDS + OBJECT_FIELDS

RAW_TABLES = """
create schema if not exists raw;
create table if not exists raw.events (
    event_id varchar, event_type varchar, event_name varchar, occurred_at timestamp, received_at timestamp,
    user_id varchar, anonymous_id varchar, previous_id varchar, account_id varchar, session_id varchar,
    properties varchar, context varchar, source varchar, loaded_at timestamp, load_id bigint
);
create table if not exists raw.rejected_events (
    source varchar, file varchar, record_number bigint, reason varchar, raw_text varchar,
    loaded_at timestamp, load_id bigint
);
create table if not exists raw.loads (
    load_id bigint, source varchar, table_name varchar, files varchar[], loaded_at timestamp,
    accepted bigint, duplicates bigint, rejected bigint, newest_event_at timestamp
);
"""


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
    _check_arguments(files, mapping or {}, timezone, source, table)
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
            report = _land_vendor_table(connection, str(source), table, columns, load_id, loaded_at)
        else:
            mapped = _fields(columns, mapping or {})
            report = _land_events(connection, mapped, timezone, source or "generic", keep_repeats, load_id, loaded_at)
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


def load_totals(connection: duckdb.DuckDBPyConnection) -> dict[str, object]:
    """Totals over all loads, for status and sensor."""
    row = connection.execute(
        """
        select max(load_id), sum(accepted), sum(duplicates), sum(rejected), max(newest_event_at), max(loaded_at)
        from raw.loads
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


def _fields(columns: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Field -> column, for the fields that the files have."""
    for field, column in mapping.items():
        if column not in columns:
            raise UsageError(
                f"There is no column {column} for {field}.",
                f"Columns are: {', '.join(columns) or 'none'}.",
            )
    fields = {field: mapping.get(field, field) for field in FIELDS}
    fields = {field: column for field, column in fields.items() if column in columns}
    missing = [field for field in ("event_name", "occurred_at") if field not in fields]
    if not {"user_id", "anonymous_id"} & set(fields):
        missing.append("user_id")
    if missing and columns:
        raise UsageError(
            f"No column gives {', '.join(missing)}.",
            f"Name it with --map {missing[0]}=COLUMN; columns are: {', '.join(columns)}.",
        )
    return fields


def _pointer(column: str) -> str:
    """A JSON pointer (RFC 6901) as a SQL literal."""
    escaped = column.replace("~", "~0").replace("/", "~1").replace("'", "''")
    return f"'/{escaped}'"


def _instant(text: str) -> str:
    """SQL for a naive UTC instant: ISO 8601 with or without an offset, or epoch seconds, milliseconds, microseconds."""
    digits = f"regexp_full_match({text}, '[0-9]+')"
    return f"""case
        when {digits} and length({text}) = 10 then make_timestamp(cast({text} as bigint) * 1000000)
        when {digits} and length({text}) = 13 then make_timestamp(cast({text} as bigint) * 1000)
        when {digits} and length({text}) = 16 then make_timestamp(cast({text} as bigint))
        when not {digits} then timezone('UTC', try_cast({text} as timestamptz))
    end"""


def _land_events(
    connection: duckdb.DuckDBPyConnection,
    fields: Mapping[str, str],
    timezone: str,
    source: str,
    keep_repeats: bool,
    load_id: int,
    loaded_at: datetime,
) -> LoadReport:
    texts = {
        field: f"nullif(trim(json_extract_string(row_json, {_pointer(fields[field])})), '')"
        if field in fields
        else "cast(null as varchar)"
        for field in FIELDS
    }
    taken = ", ".join(f"'{column.replace(chr(39), chr(39) * 2)}', null" for column in fields.values())
    connection.execute(f"set TimeZone = '{timezone}'")
    connection.execute(
        f"""
        create or replace temp table parsed as
        with texts as (
            select
                file, record_number, raw_text, error,
                {", ".join(f"{sql} as {field}" for field, sql in texts.items())},
                json_merge_patch(row_json, json_object({taken})) as rest
            from landing
        ),
        typed as (
            select
                * replace (
                    lower(coalesce(event_type, 'track')) as event_type,
                    coalesce(source, '{source}') as source,
                    {", ".join(f"{_instant(field)} as {field}" for field in TIME_FIELDS)}
                ),
                occurred_at as occurred_text,
                received_at as received_text
            from texts
        ),
        judged as (
            select
                * replace (
                    case
                        when {_is_object("properties")}
                            then cast(json_merge_patch(cast(coalesce(properties, '{{}}') as json), rest) as varchar)
                    end as properties
                ),
                case
                    when error is not null then error
                    when user_id is null and anonymous_id is null then 'neither user_id nor anonymous_id'
                    when event_name is null then 'no event_name'
                    when occurred_text is null then 'no occurred_at'
                    when occurred_at is null then 'occurred_at is not a time'
                    when received_text is not null and received_at is null then 'received_at is not a time'
                    when occurred_at > $loaded_at + interval 1 day then 'occurred_at is more than a day after loaded_at'
                    when event_type not in {EVENT_TYPES} then 'unknown event_type'
                    when not {_is_object("properties")} then 'properties are not a JSON object'
                    when not {_is_object("context")} then 'context is not a JSON object'
                end as reason
            from typed
        )
        select * from judged
        """,
        {"loaded_at": loaded_at},
    )
    connection.execute("set TimeZone = 'UTC'")
    content = ", ".join(f for f in FIELDS if f not in ("event_id", *TIME_FIELDS))
    repeat = "row_number() over (partition by file, content order by record_number)" if keep_repeats else "1"
    connection.execute(
        f"""
        create or replace temp table accepted as
        with hashed as (
            select
                *,
                md5(cast(json_array({content}, epoch_us(occurred_at), epoch_us(received_at)) as varchar)) as content
            from parsed
            where reason is null
        ),
        numbered as (
            select *, {repeat} as repeat_number from hashed
        )
        select distinct
            coalesce(
                event_id, case when repeat_number = 1 then content else md5(content || '#' || repeat_number) end
            ) as event_id,
            {", ".join(field for field in FIELDS if field != "event_id")}
        from numbered
        """
    )
    same = " and ".join(f"known.{field} is not distinct from accepted.{field}" for field in FIELDS)
    connection.execute(
        f"""
        insert into raw.events by name
        select *, $loaded_at as loaded_at, $load_id as load_id
        from accepted
        where not exists (select 1 from raw.events as known where known.event_id = accepted.event_id and {same})
        """,
        {"loaded_at": loaded_at, "load_id": load_id},
    )
    return _report(connection, "raw.events", source, load_id, loaded_at)


def _is_object(field: str) -> str:
    return f"({field} is null or (json_valid({field}) and coalesce(json_type({field}) = 'OBJECT', false)))"


def _land_vendor_table(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    table: str,
    columns: Sequence[str],
    load_id: int,
    loaded_at: datetime,
) -> LoadReport:
    """Lands a vendor's columns as text under their own names; a column that is new to the table is added."""
    relation = f'raw_{source}."{table}"'
    reserved = {"loaded_at", "load_id"} & set(columns)
    if reserved:
        raise UsageError(f"The column {min(reserved)} is kept for Traithouse.", "Rename it in the file.")
    connection.execute(f"create schema if not exists raw_{source}")
    connection.execute(f"create table if not exists {relation} (loaded_at timestamp, load_id bigint)")
    quoted = ['"' + column.replace('"', '""') + '"' for column in columns]
    for column in quoted:
        connection.execute(f"alter table {relation} add column if not exists {column} varchar")
    known = connection.execute(f"describe {relation}").fetchall()
    every = ['"' + name.replace('"', '""') + '"' for name, *_ in known if name not in ("loaded_at", "load_id")]
    picked = ", ".join(
        f"json_extract_string(row_json, {_pointer(name)}) as {column}"
        for name, column in zip(columns, quoted, strict=True)
    )
    connection.execute("create or replace temp table parsed as select *, error as reason from landing")
    connection.execute(
        f"create or replace temp table accepted as select distinct {picked or 'null'} from landing where error is null"
    )
    if quoted:
        accepted = ", ".join(c if c in quoted else f"cast(null as varchar) as {c}" for c in every)
        connection.execute(
            f"""
            insert into {relation} by name
            select *, $loaded_at as loaded_at, $load_id as load_id
            from (
                select {accepted} from accepted
                except
                select {", ".join(f"cast({c} as varchar)" for c in every)} from {relation}
            )
            """,
            {"loaded_at": loaded_at, "load_id": load_id},
        )
    return _report(connection, relation, source, load_id, loaded_at)


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
