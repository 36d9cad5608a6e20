"""Lands rows of a vendor's file as they are; its adapter reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import duckdb

from orchestration.landing import snowplow
from orchestration.landing.event_tables import TRACKS, complete_tracks, is_event_table, land_event_table
from orchestration.landing.sql import clean_id, value
from orchestration.landing.tombstones import drop_forgotten, redact_forgotten

OWN_COLUMNS = ("loaded_at", "load_id", "track_properties", "track_properties_version")


def land_vendor_table(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    table: str,
    columns: Mapping[str, Sequence[str]],
    load_id: int,
    loaded_at: datetime,
) -> str:
    """Lands a vendor's columns as text under their own names, adds new columns to the table, and returns its name.

    Names of columns that differ in case only are one column. A column with a name of our own columns gets the prefix
    ``vendor_``. Table ``parsed`` is left for the caller to count, as by ``land_events``.
    """
    if is_event_table(source, table):
        return land_event_table(connection, source, table, columns, load_id, loaded_at)
    relation = f'raw_{source}."{table}"'
    connection.execute(f"create schema if not exists raw_{source}")
    connection.execute(f"create table if not exists {relation} (loaded_at timestamp, load_id bigint)")
    landed = [f"vendor_{column}" if column.lower() in OWN_COLUMNS else column for column in columns]
    quoted = ['"' + column.replace('"', '""') + '"' for column in landed]
    for column in quoted:
        connection.execute(f"alter table {relation} add column if not exists {column} varchar")
    known = connection.execute(f"describe {relation}").fetchall()
    every = ['"' + name.replace('"', '""') + '"' for name, *_ in known if name not in OWN_COLUMNS]
    given = {column.lower() for column in quoted}
    picked = ", ".join(
        f"{_text(name, spellings)} as {column}"
        for (name, spellings), column in zip(columns.items(), quoted, strict=True)
    )
    connection.execute("create or replace temp table parsed as select *, error as reason from landing")
    drop_forgotten(connection, vendor=True)
    connection.execute(
        f"create or replace temp table accepted as select distinct {picked or 'null'} from parsed where reason is null"
    )
    redact_forgotten(connection, "accepted", quoted)
    if quoted:
        accepted = ", ".join(c if c.lower() in given else f"cast(null as varchar) as {c}" for c in every)
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
    if (source, table) == (snowplow.SOURCE, snowplow.EVENTS):
        snowplow.land_identities(connection, load_id, loaded_at)
    if table == TRACKS:
        complete_tracks(connection, source, load_id, loaded_at)
    return relation


def _text(name: str, spellings: Sequence[str]) -> str:
    """SQL for the text of a column; one that is called an id loses the blanks around it and decimals of nothing."""
    return clean_id(value(spellings)) if name.lower().endswith("id") else value(spellings)
