"""Lands the table that a warehouse keeps for each event: it holds the properties of its tracks.

Segment and RudderStack write the columns that all tracks share into ``tracks``, and a row with the same id into a table
that is called after the event. Here all these tables are one, ``track_properties``, whichever events there are.
Sources: the vendors' documentation of their warehouse schemas (Segment: "Warehouse schemas"; RudderStack: "Warehouse
schema").

The adapter reads ``tracks`` alone. So a track is written there again, with its properties, when they come; of several
versions the adapter's is the one with the most of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import duckdb

from orchestration.landing.sql import clean_id, literal, value
from orchestration.landing.tombstones import drop_forgotten, redact_forgotten

ADAPTER = "segment"
TABLE, TRACKS = "track_properties", "tracks"
VERSION = "track_properties_version"
CALLS = (TRACKS, "pages", "screens", "identifies", "groups", "aliases")
# What the vendors make of the calls; it holds nothing that the calls do not.
DERIVED = {"users": "identifies", "accounts": "groups"}
# Columns that every event's table shares with tracks; those with context_ too.
SHARED = (
    *("id", "event", "event_text", "user_id", "anonymous_id", "timestamp", "original_timestamp", "sent_at"),
    *("received_at", "uuid", "uuid_ts", "channel", "loaded_at"),
)
KEPT = ("id", "user_id", "anonymous_id", "timestamp", "received_at")


def adapter_of(source: str) -> str:
    """The adapter that reads a source: ``segment_ios``, as any source of Segment beside another, is read by segment."""
    return ADAPTER if source.startswith(f"{ADAPTER}_") else source


def is_event_table(source: str, table: str) -> bool:
    """Whether a table holds the properties of one event, or of several."""
    return adapter_of(source) == ADAPTER and table not in CALLS


def repeated_table(source: str, table: str) -> str:
    """The table that a derived one repeats; empty for any other."""
    if adapter_of(source) != ADAPTER:
        return ""
    if table.endswith("_view"):
        return table.removesuffix("_view")
    return DERIVED.get(table, "")


def land_event_table(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    table: str,
    columns: Mapping[str, Sequence[str]],
    load_id: int,
    loaded_at: datetime,
) -> str:
    """Lands properties of tracks, completes the tracks that are there, and returns the name of their table.

    Rows of ``track_properties`` itself name their event in the column ``event``. Table ``parsed`` is left for the
    caller to count, as by ``land_events``.
    """
    relation = f"raw_{source}.{TABLE}"
    connection.execute(f"create schema if not exists raw_{source}")
    connection.execute(
        f"""
        create table if not exists {relation} (
            {", ".join(f'"{name}" varchar' for name in KEPT)}, event_table varchar, properties varchar,
            loaded_at timestamp, load_id bigint
        )
        """
    )
    by_name = {name.lower(): value(spellings) for name, spellings in columns.items()}
    kept = {name: by_name.get(name, "cast(null as varchar)") for name in (*KEPT, "event")}
    kept |= {name: clean_id(kept[name]) for name in ("id", "user_id", "anonymous_id")}
    event = kept.pop("event") if table == TABLE else literal(table)
    connection.execute(
        f"""
        create or replace temp table parsed as
        select
            * exclude (reason),
            case when error is not null then error when coalesce(id, '') = '' then 'no id' end as reason
        from (
            select *, null as reason, {", ".join(f'{sql} as "{name}"' for name, sql in kept.items())},
                {event} as event_table
            from landing
        )
        """
    )
    drop_forgotten(connection, vendor=True)
    shared = ", ".join(literal(name) for name in SHARED)
    connection.execute(
        f"""
        create or replace temp table accepted as
        with members as (
            select
                record, lower(name) as name,
                json_extract_string(row_json, '/' || replace(replace(name, '~', '~0'), '/', '~1')) as text
            from (
                select rowid as record, row_json, unnest(json_keys(row_json)) as name
                from parsed where reason is null
            )
        ),
        objects as (
            select
                record, cast(to_json(map(list(name order by name), list(text order by name))) as varchar)
                    as properties
            from members
            where text is not null and name not in ({shared}) and not starts_with(name, 'context_')
            group by record
        )
        select distinct
            {", ".join(f'parsed."{name}"' for name in KEPT)}, parsed.event_table,
            coalesce(objects.properties, '{{}}') as properties
        from parsed left join objects on objects.record = parsed.rowid
        where parsed.reason is null
        """
    )
    redact_forgotten(connection, "accepted", ("properties",))
    # Of what is there, only rows of the same ids are compared, so that a pull costs what is new.
    added = connection.execute(
        f"""
        insert into {relation} by name
        select *, $loaded_at as loaded_at, $load_id as load_id
        from (
            select * from accepted
            except
            select * exclude (loaded_at, load_id) from {relation} semi join accepted using (id)
        )
        """,
        {"loaded_at": loaded_at, "load_id": load_id},
    ).fetchone()
    connection.execute(f"create table if not exists raw_{source}.{TRACKS} (loaded_at timestamp, load_id bigint)")
    connection.execute(f"alter table raw_{source}.{TRACKS} add column if not exists id varchar")
    if added and added[0]:
        complete_tracks(connection, source, load_id, loaded_at)
    return relation


def complete_tracks(connection: duckdb.DuckDBPyConnection, source: str, load_id: int, loaded_at: datetime) -> None:
    """Writes tracks again with their newest properties, where they or their properties came with this load."""
    tracks, properties = f"raw_{source}.{TRACKS}", f"raw_{source}.{TABLE}"
    if not connection.execute(
        "select 1 from duckdb_tables() where schema_name = $1 and table_name = $2", [f"raw_{source}", TABLE]
    ).fetchone():
        return
    for column, kind in (("track_properties", "varchar"), ("track_properties_version", "bigint")):
        connection.execute(f"alter table {tracks} add column if not exists {column} {kind}")
    connection.execute(
        f"""
        insert into {tracks} by name
        with touched as (
            select id from {properties} where load_id = $load_id
            union
            select id from {tracks} where load_id = $load_id
        ),
        newest as (
            select id, properties, row_number() over (partition by id order by load_id, properties) as version
            from {properties} semi join touched using (id)
            qualify lead(id) over (partition by id order by load_id, properties) is null
        ),
        calls as (
            select distinct * exclude (track_properties, track_properties_version, loaded_at, load_id)
            from {tracks} semi join newest using (id)
        )
        select
            calls.*, newest.properties as track_properties, newest.version as track_properties_version,
            $loaded_at as loaded_at, $load_id as load_id
        from calls inner join newest using (id)
        """,
        {"load_id": load_id, "loaded_at": loaded_at},
    )
    # A track that came with this load stands there once.
    connection.execute(
        f"""
        delete from {tracks}
        where load_id = $load_id and track_properties is null
            and id in (select id from {tracks} where load_id = $load_id and track_properties is not null)
        """,
        {"load_id": load_id},
    )
