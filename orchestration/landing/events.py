"""Turns the records of a batch into raw events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import duckdb

from orchestration.errors import UsageError
from orchestration.landing.contract import EVENT_TYPES, FIELDS, OBJECT_FIELDS, TIME_FIELDS
from orchestration.landing.tombstones import drop_forgotten, redact_forgotten, withdraw_events


def map_fields(columns: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Field -> column, for the fields of an event that the records have.

    Raises:
        UsageError: a mapped column is missing, or no column gives a field that every event needs.

    """
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


def pointer(column: str) -> str:
    """A JSON pointer (RFC 6901) to a column, as a SQL literal."""
    escaped = column.replace("~", "~0").replace("/", "~1").replace("'", "''")
    return f"'/{escaped}'"


def instant(text: str) -> str:
    """SQL for a naive UTC instant: ISO 8601 with or without an offset, or epoch seconds, milliseconds, microseconds."""
    digits = f"regexp_full_match({text}, '[0-9]+')"
    fraction = f"regexp_full_match({text}, '[0-9]{{10}}[.][0-9]+')"
    # DuckDB needs seconds before an offset, and no space there.
    day_and_minute = "^([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2})"
    iso = f"replace(replace({text}, ' +', '+'), ' -', '-')"
    iso = f"regexp_replace({iso}, '{day_and_minute}(Z|[+-][0-9:]+)$', '\\1:00\\2')"
    return f"""case
        when {digits} and length({text}) = 10 then make_timestamp(cast({text} as bigint) * 1000000)
        when {digits} and length({text}) = 13 then make_timestamp(cast({text} as bigint) * 1000)
        when {digits} and length({text}) = 16 then make_timestamp(cast({text} as bigint))
        when {fraction} then make_timestamp(cast(round(cast({text} as decimal(20, 6)) * 1000000) as bigint))
        when not {digits} then timezone('UTC', try_cast({iso} as timestamptz))
    end"""


def land_events(
    connection: duckdb.DuckDBPyConnection,
    fields: Mapping[str, str],
    timezone: str,
    source: str,
    keep_repeats: bool,
    load_id: int,
    loaded_at: datetime,
) -> None:
    """Maps, types and judges the rows of table ``landing``, and appends the accepted ones to raw.events.

    It leaves table ``parsed`` for the caller to count: each record with the reason why it is rejected, or null.

    Args:
        connection: to the warehouse, with table ``landing``.
        fields: field of the raw event contract -> column.
        timezone: time zone of times without an offset.
        source: name of the source, for events that name none.
        keep_repeats: equal rows of one file without an event_id are separate events.
        load_id: of this load.
        loaded_at: naive UTC.

    """
    texts = {
        field: f"nullif(trim(json_extract_string(row_json, {pointer(fields[field])})), '')"
        if field in fields
        else "cast(null as varchar)"
        for field in FIELDS
    }
    mapped = ", ".join(f"'{column.replace(chr(39), chr(39) * 2)}', null" for column in fields.values())
    connection.execute(f"set TimeZone = '{timezone}'")
    connection.execute(
        f"""
        create or replace temp table parsed as
        with texts as (
            select
                file, record_number, raw_text, error,
                {", ".join(f"{sql} as {field}" for field, sql in texts.items())},
                json_merge_patch(row_json, json_object({mapped})) as rest
            from landing
        ),
        typed as (
            select
                * replace (
                    lower(coalesce(event_type, 'track')) as event_type,
                    coalesce(source, '{source}') as source,
                    {", ".join(f"{instant(field)} as {field}" for field in TIME_FIELDS)}
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
                            then cast(json_merge_patch(try_cast(coalesce(properties, '{{}}') as json), rest) as varchar)
                    end as properties
                ),
                case
                    when error is not null then error
                    when user_id is null and anonymous_id is null then 'neither user_id nor anonymous_id'
                    when event_name is null then 'no event_name'
                    when occurred_text is null then 'no occurred_at'
                    when occurred_at is null then 'occurred_at is not a time'
                    when occurred_at < timestamp '1970-01-01' then 'occurred_at is before 1970'
                    when received_text is not null and received_at is null then 'received_at is not a time'
                    when received_at < timestamp '1970-01-01' or not isfinite(received_at)
                        then 'received_at is not a time'
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
    drop_forgotten(connection, vendor=False)
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
    withdraw_events(connection)
    redact_forgotten(connection, "accepted", OBJECT_FIELDS)
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


def _is_object(field: str) -> str:
    return f"({field} is null or coalesce(json_type(try_cast({field} as json)) = 'OBJECT', false))"
