"""Turns the records of a batch into raw events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import duckdb

from orchestration.declarations.event_types import EVENT_TYPES
from orchestration.errors import UsageError
from orchestration.landing.contract import (
    FIELDS,
    ID_FIELDS,
    OBJECT_FIELDS,
    TIME_FIELDS,
)
from orchestration.landing.sql import clean_id, instant, literal, stated, trimmed, value
from orchestration.landing.tombstones import drop_forgotten, redact_forgotten, withdraw_events

# An id that a spreadsheet has rounded.
ROUNDED = "[0-9]([.,][0-9]+)?[eE][+]?[0-9]+"


def map_fields(columns: Mapping[str, Sequence[str]], mapping: Mapping[str, str]) -> dict[str, Sequence[str]]:
    """Field -> spellings of its column, for the fields of an event that the records have; case does not matter.

    Raises:
        UsageError: a mapped column is missing, or no column gives a field that every event needs.

    """
    by_name = {name.lower(): spellings for name, spellings in columns.items()}
    for field, column in mapping.items():
        if column.lower() not in by_name:
            raise UsageError(
                f"There is no column {column} for {field}.",
                f"Columns are: {', '.join(columns) or 'none'}.",
            )
    names = {field: mapping.get(field, field).lower() for field in FIELDS}
    fields = {field: by_name[name] for field, name in names.items() if name in by_name}
    missing = [field for field in ("event_name", "occurred_at") if field not in fields]
    if not {"user_id", "anonymous_id"} & set(fields):
        missing.append("user_id")
    if missing and columns:
        raise UsageError(
            f"No column gives {', '.join(missing)}.",
            f"Name it with --map {missing[0]}=COLUMN; columns are: {', '.join(columns)}.",
        )
    return fields


def land_events(
    connection: duckdb.DuckDBPyConnection,
    fields: Mapping[str, Sequence[str]],
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
        fields: field of the raw event contract -> spellings of its column.
        timezone: time zone of times without an offset.
        source: name of the source, for events that name none.
        keep_repeats: equal rows of one file without an event_id are separate events.
        load_id: of this load.
        loaded_at: naive UTC.

    """
    texts = {field: _text(field, fields[field]) if field in fields else "cast(null as varchar)" for field in FIELDS}
    taken = [name for spellings in fields.values() for name in spellings]
    mapped = ", ".join(f"{literal(name)}, null" for name in taken)
    connection.execute(f"set TimeZone = '{timezone}'")
    connection.execute(
        f"""
        create or replace temp table parsed as
        with texts as (
            select
                file, record_number, raw_text, error,
                {", ".join(f"{sql} as {field}" for field, sql in texts.items())},
                -- What is null takes nothing away from the properties.
                json_merge_patch('{{}}', json_merge_patch(row_json, json_object({mapped}))) as rest
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
                    when {" or ".join(f"regexp_full_match({field}, '{ROUNDED}')" for field in ID_FIELDS)}
                        then 'an id in scientific notation, which has lost digits'
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


def _text(field: str, spellings: Sequence[str]) -> str:
    """SQL for the text of a field; blank and null markers are null."""
    text = value(spellings)
    if field in OBJECT_FIELDS:
        return f"nullif(trim({text}), '')"
    return stated(clean_id(text) if field in ID_FIELDS else trimmed(text))


def _is_object(field: str) -> str:
    return f"({field} is null or coalesce(json_type(try_cast({field} as json)) = 'OBJECT', false))"
