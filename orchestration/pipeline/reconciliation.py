"""Where all that was loaded has gone, by source and table: used, duplicate, returned, ...; and what nobody reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import duckdb

from orchestration.landing.event_tables import TABLE as TRACK_PROPERTIES
from orchestration.landing.event_tables import TRACKS, VERSION, adapter_of
from orchestration.transform.dbt import Project
from orchestration.transform.watermark import read_watermark

# Adapter -> type of event -> the table that its rows are in, where that is not the adapter's first.
_FIRST = {"segment": TRACKS}
_TABLES = {
    "segment": {
        "page": "pages",
        "screen": "screens",
        "identify": "identifies",
        "group": "groups",
        "alias": "aliases",
    },
    "snowplow": {"alias": "identities"},
}


class Place(NamedTuple):
    """A source and the table that its rows were landed in."""

    source: str
    table: str


class RawRows(NamedTuple):
    """Rows up to the last refresh, and after it."""

    read: int
    unread: int


@dataclass(frozen=True)
class Reconciled:
    """Rows of a table of a source.

    Attributes:
        source: as its events name it.
        table: that they were landed in.
        loaded: records that ``load`` and ``pull`` took as rows, those that were there already included.
        used: events.
        duplicate: rows that were there already, and other versions of an event.
        quarantined: rows that cannot be an event (events.quarantined_events).
        returned: messages that Traithouse itself delivered, and that came back (events.own_deliveries).
        unread: rows that came after the last refresh.
        rejected: records that could not be rows (raw.rejected_events); not among the loaded.

    """

    source: str
    table: str
    loaded: int
    used: int
    duplicate: int
    quarantined: int
    returned: int
    unread: int
    rejected: int

    @property
    def lost(self) -> int:
        """Rows that are nowhere; 0 unless something is broken."""
        return self.loaded - self.used - self.duplicate - self.quarantined - self.returned - self.unread

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"lost": self.lost}


@dataclass(frozen=True)
class UnreadTable:
    """A table of raw rows that no adapter reads, and what to do."""

    table: str
    rows: int
    remedy: str

    @property
    def words(self) -> str:
        """For a person."""
        return f"{self.table} holds {self.rows:,} rows that nobody reads. {self.remedy}"


def enabled_sources(project: Project) -> list[str]:
    """Names of the adapters in var ``sources``."""
    return [name.strip() for name in str(project.variables["sources"]).split(",")]


def unread_tables(
    connection: duckdb.DuckDBPyConnection, enabled: Sequence[str], read: Mapping[str, set[str]] | None = None
) -> list[UnreadTable]:
    """Tables with rows whose adapter is not enabled, or which their adapter does not read.

    Args:
        connection: the warehouse.
        enabled: adapters.
        read: adapter -> tables that its source declares; tables of enabled adapters are left out when not given.

    """
    found = []
    for schema, table in connection.execute(
        """
        select schema_name, table_name from duckdb_tables()
        where schema_name = 'raw' and table_name = 'events' or starts_with(schema_name, 'raw_') order by all
        """
    ).fetchall():
        source = "generic" if schema == "raw" else adapter_of(schema.removeprefix("raw_"))
        if source not in enabled:
            remedy = f"Add {source} to the var sources in dbt_project.yml, then traithouse refresh."
        elif read is not None and source != "generic" and table not in read.get(source, set()):
            remedy = f"The adapter {source} reads {', '.join(sorted(read.get(source, set()))) or 'no table'}."
        else:
            continue
        count = _count(connection, f'select count(*) from {schema}."{table}"') - _completed(
            connection, f"{schema}.{table}"
        )
        if count:
            found.append(UnreadTable(f"{schema}.{table}", count, remedy))
    return found


def reconcile(
    connection: duckdb.DuckDBPyConnection, enabled: Sequence[str], *, recount: bool = True
) -> list[Reconciled]:
    """Where the rows of each table that is read have gone, as far as the last refresh has read them.

    Args:
        connection: the warehouse.
        enabled: adapters.
        recount: count duplicates in all raw rows; else they are what is left, which finds nothing that is lost.

    """
    raw = _raw_rows(connection, enabled)
    known = _by_table(connection, "select source, table_name, sum(duplicates) from raw.loads group by all")
    rejected = _by_table(
        connection,
        """
        select rejected.source, loads.table_name, count(*)
        from raw.rejected_events as rejected left join raw.loads as loads using (load_id) group by all
        """,
    )
    last_read = read_watermark(connection).load_id
    used = _by_type(
        connection,
        enabled,
        """
        select kinds.source, kinds.event_type, sum(found.rows)
        from (select kind_key, count(*) as rows from events.event_log group by kind_key) as found
        join events.event_kinds as kinds using (kind_key) group by all
        """,
    )
    quarantined = _by_type(
        connection,
        enabled,
        # Calls of other types are called after them.
        "select source, event_name, count(*) from events.quarantined_events group by all",
    )
    returned = _returned(connection, enabled)
    same = _same_events(connection, enabled, last_read) if recount else {}
    reconciled = []
    for source, table in sorted({*raw, *used, *quarantined, *returned, *rejected}):
        place = Place(source, table)
        rows, there = raw.get(place, RawRows(0, 0)), known.get(place, 0)
        taken = used.get(place, 0) + quarantined.get(place, 0) + returned.get(place, 0)
        left = rows.read - taken
        reconciled.append(
            Reconciled(
                source=source,
                table=table,
                loaded=rows.read + rows.unread + there,
                used=used.get(place, 0),
                duplicate=there + (same.get(place, 0) if recount else left),
                quarantined=quarantined.get(place, 0),
                returned=returned.get(place, 0),
                unread=rows.unread,
                rejected=rejected.get(place, 0),
            )
        )
    return reconciled


def _returned(connection: duckdb.DuckDBPyConnection, enabled: Sequence[str]) -> dict[Place, int]:
    """What Traithouse itself delivered, once each; nothing in a home that an earlier version has built."""
    exists = "select 1 from duckdb_tables() where schema_name = 'events' and table_name = 'own_deliveries'"
    if not connection.execute(exists).fetchone():
        return {}
    sql = "select source, event_type, count(distinct event_id) from events.own_deliveries group by all"
    return _by_type(connection, enabled, sql)


def _same_events(connection: duckdb.DuckDBPyConnection, enabled: Sequence[str], last_read: int) -> dict[Place, int]:
    """Good rows beyond the first of each event; a track that was completed is no other row."""
    found = _by_type(
        connection,
        enabled,
        f"""
        select source, event_type, count(*) - count(distinct event_id)
        from events.checked_events where load_id <= {last_read} and quarantine_reason is null group by all
        """,
    )
    return {
        place: count - _completed(connection, place.table, f"load_id <= {last_read}") for place, count in found.items()
    }


def _raw_rows(connection: duckdb.DuckDBPyConnection, enabled: Sequence[str]) -> dict[Place, RawRows]:
    """Rows of raw by place: those of raw.events name their source, a vendor's are its own."""
    last_read = read_watermark(connection).load_id
    counts = f"count(*) filter (load_id <= {last_read}), count(*) filter (load_id > {last_read})"
    rows = {}
    if "generic" in enabled:
        found = connection.execute(f"select source, {counts} from raw.events group by source").fetchall()
        rows = {Place(source, "raw.events"): RawRows(read, unread) for source, read, unread in found}
    for schema, table in connection.execute(
        "select schema_name, table_name from duckdb_tables() where starts_with(schema_name, 'raw_')"
    ).fetchall():
        place = Place(schema.removeprefix("raw_"), f"{schema}.{table}")
        # Properties are read with their track.
        if adapter_of(place.source) in enabled and table != TRACK_PROPERTIES:
            read, unread = connection.execute(f'select {counts} from {schema}."{table}"').fetchone() or (0, 0)
            rows[place] = RawRows(
                read - _completed(connection, place.table, f"load_id <= {last_read}"),
                unread - _completed(connection, place.table, f"load_id > {last_read}"),
            )
    return rows


def _by_type(connection: duckdb.DuckDBPyConnection, enabled: Sequence[str], sql: str) -> dict[Place, int]:
    """Counts of source and event_type as counts of places."""
    counts: dict[Place, int] = {}
    for source, event_type, count in connection.execute(sql).fetchall():
        adapter = adapter_of(source)
        tables, first = _TABLES.get(adapter, {}), _FIRST.get(adapter, "events")
        vendor = adapter in enabled and adapter != "generic"
        table = f"raw_{source}.{tables.get(event_type, first)}" if vendor else "raw.events"
        counts[Place(source, table)] = counts.get(Place(source, table), 0) + int(count)
    return counts


def _completed(connection: duckdb.DuckDBPyConnection, table: str, condition: str = "true") -> int:
    """Rows that a load made of a track which was there already, when its properties came: they are no other rows."""
    schema, _, name = table.partition(".")
    if (
        name != TRACKS
        or not connection.execute(
            "select 1 from duckdb_columns() where schema_name = $1 and table_name = $2 and column_name = $3",
            [schema, name, VERSION],
        ).fetchone()
    ):
        return 0
    version = f"coalesce({VERSION}, 0)"
    return _count(
        connection,
        f"""
        select count(*) from (
            select load_id, {version} > min({version}) over (partition by id) as is_completed from {table}
        )
        where is_completed and {condition}
        """,
    )


def _by_table(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[Place, int]:
    return {Place(source, str(table)): int(count) for source, table, count in connection.execute(sql).fetchall()}


def _count(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0
