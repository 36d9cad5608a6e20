"""Where all that was loaded has gone, by source: used, duplicate, quarantined, unread; tables that nobody reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from orchestration.landing.event_tables import TABLE as TRACK_PROPERTIES
from orchestration.landing.event_tables import TRACKS, VERSION, adapter_of
from orchestration.transform.dbt import Project
from orchestration.transform.watermark import read_watermark


@dataclass(frozen=True)
class Reconciled:
    """Rows of a source.

    Attributes:
        source: as its events name it.
        loaded: records that ``load`` and ``pull`` took as rows, those that were there already included.
        used: events.
        duplicate: rows that were there already, and other versions of an event.
        quarantined: rows that cannot be an event (events.quarantined_events).
        unread: rows that came after the last refresh.
        rejected: records that could not be rows (raw.rejected_events); not among the loaded.

    """

    source: str
    loaded: int
    used: int
    duplicate: int
    quarantined: int
    unread: int
    rejected: int

    @property
    def lost(self) -> int:
        """Rows that are nowhere; 0 unless something is broken."""
        return self.loaded - self.used - self.duplicate - self.quarantined - self.unread

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
        count = _count(connection, f'select count(*) from {schema}."{table}"') - _completed(connection, schema, table)
        if count:
            found.append(UnreadTable(f"{schema}.{table}", count, remedy))
    return found


def reconcile(connection: duckdb.DuckDBPyConnection, enabled: Sequence[str]) -> list[Reconciled]:
    """Where the rows of each source that is read have gone, as far as the last refresh has read them."""
    raw = _raw_rows(connection, enabled)
    known = _by_source(connection, "select source, sum(duplicates) from raw.loads group by source")
    rejected = _by_source(connection, "select source, count(*) from raw.rejected_events group by source")
    checked = {
        source: counts
        for source, *counts in connection.execute(
            """
            select
                source,
                count(*) filter (load_id > $read),
                count(*) filter (load_id <= $read and quarantine_reason is not null),
                count(*) filter (load_id <= $read and quarantine_reason is null),
                count(distinct event_id) filter (load_id <= $read and quarantine_reason is null)
            from events.checked_events group by source
            """,
            {"read": read_watermark(connection).load_id},
        ).fetchall()
    }
    used = _by_source(
        connection,
        "select source, count(*) from events.event_log join events.event_kinds using (kind_key) group by source",
    )
    reconciled = []
    read = f"load_id <= {read_watermark(connection).load_id}"
    for source in sorted({*raw, *checked, *used, *rejected}):
        unread, quarantined, good, distinct = checked.get(source, (0, 0, 0, 0))
        good -= _completed(connection, f"raw_{source}", TRACKS, read)
        unread -= _completed(connection, f"raw_{source}", TRACKS, f"not {read}")
        there = known.get(source, 0)
        reconciled.append(
            Reconciled(
                source=source,
                loaded=raw.get(source, 0) + there,
                used=used.get(source, 0),
                duplicate=good - distinct + there,
                quarantined=quarantined,
                unread=unread,
                rejected=rejected.get(source, 0),
            )
        )
    return reconciled


def _raw_rows(connection: duckdb.DuckDBPyConnection, enabled: Sequence[str]) -> dict[str, int]:
    """Rows of raw by source: those of raw.events name theirs, a vendor's are its own."""
    rows = (
        _by_source(connection, "select source, count(*) from raw.events group by source")
        if "generic" in enabled
        else {}
    )
    for schema, table in connection.execute(
        "select schema_name, table_name from duckdb_tables() where starts_with(schema_name, 'raw_')"
    ).fetchall():
        source = schema.removeprefix("raw_")
        # Properties are read with their track.
        if adapter_of(source) in enabled and table != TRACK_PROPERTIES:
            count = _count(connection, f'select count(*) from {schema}."{table}"')
            rows[source] = rows.get(source, 0) + count - _completed(connection, schema, table)
    return rows


def _completed(connection: duckdb.DuckDBPyConnection, schema: str, table: str, condition: str = "true") -> int:
    """Rows that a load made of a track which was there already, when its properties came: they are no other rows."""
    if (
        table != TRACKS
        or not connection.execute(
            "select 1 from duckdb_columns() where schema_name = $1 and table_name = $2 and column_name = $3",
            [schema, table, VERSION],
        ).fetchone()
    ):
        return 0
    version = f"coalesce({VERSION}, 0)"
    return _count(
        connection,
        f"""
        select count(*) from (
            select load_id, {version} > min({version}) over (partition by id) as is_completed from {schema}.{table}
        )
        where is_completed and {condition}
        """,
    )


def _by_source(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, int]:
    return {source: int(count) for source, count in connection.execute(sql).fetchall()}


def _count(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0
