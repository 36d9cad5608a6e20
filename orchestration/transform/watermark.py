"""How far incremental tables have come: what the last whole build read, at which clock and with which definitions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb

from orchestration.transform.state_tables import STATE_TABLES


@dataclass(frozen=True)
class Watermark:
    """The row of ``state.watermark``; without one everything is rebuilt.

    Attributes:
        load_id: newest load that was read; -1 before the first build.
        as_of: clock of that build, naive UTC.
        fingerprint: of the definitions that it was made with.

    """

    load_id: int = -1
    as_of: datetime | None = None
    fingerprint: str | None = None


def read_watermark(connection: duckdb.DuckDBPyConnection) -> Watermark:
    """The watermark, or that of a home without a build."""
    row = connection.execute("select load_id, as_of, fingerprint from state.watermark").fetchone()
    if row is None:
        return Watermark()
    load_id, as_of, fingerprint = row
    return Watermark(load_id=load_id, as_of=as_of, fingerprint=fingerprint)


def delete_watermark(connection: duckdb.DuckDBPyConnection) -> None:
    """Takes the watermark away: until a build has ended, none is true of the tables."""
    connection.execute("delete from state.watermark")


def save_watermark(connection: duckdb.DuckDBPyConnection, watermark: Watermark) -> None:
    """Puts a watermark in place of the one before it."""
    delete_watermark(connection)
    connection.execute(
        "insert into state.watermark (load_id, as_of, fingerprint) values ($load_id, $as_of, $fingerprint)",
        vars(watermark),
    )


def raw_kept_from(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """From when on raw is complete, naive UTC; none while a rebuild would miss nothing.

    Retention deletes raw rows for their age; a rebuild afterwards has to do without them.
    """
    connection.execute(STATE_TABLES)
    row = connection.execute(
        "select max(kept_from) from state.retention where starts_with(table_name, 'raw')"
        " and table_name != 'raw.rejected_events' and not is_rebuilt"
    ).fetchone()
    kept_from: datetime | None = row[0] if row else None
    return kept_from
