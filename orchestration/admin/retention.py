"""Retention: how many days before as_of a home keeps raw rows and rows of the ledger (snapshots: ``builds_kept``).

Raw rows that are older, and built, are deleted after a refresh. What was made of them stays (events as keys, sessions,
daily activity, features), so incremental refreshes go on as if the rows were there, also when an old file is loaded
again. A rebuild needs raw, and would know nothing of the time before. So a rebuild that nobody asked for is refused
from then on (`traithouse refresh --full-refresh` accepts the loss). At least the longest window of any feature is kept,
so a rebuild cuts short only what looks back without end (first seen, ever subscribed).

Of the ledger, two kinds of older rows stay: the last row of each entity and trait before the horizon, so that the state
at every kept clock can be read; and the first row of each trait, which says since when it is published. The horizon is
never later than a snapshot that is kept.

The file uses the space of deleted rows again, but their bytes stay until then; only forgetting removes them at once.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import duckdb

from orchestration.errors import UsageError
from orchestration.home import Home, Notify, read_json, silent, utc_now
from orchestration.landing.loads import vendor_time
from orchestration.measurement.stability import WINDOW_DAYS
from orchestration.publishing.ledger import prune_ledger
from orchestration.transform.dbt import Project

_WINDOW = re.compile(r"days_ago\(\s*(\d+)\s*\)")


def longest_window(project: Project) -> int:
    """Days that the longest window of any model looks back."""
    nodes = project.manifest_dict["nodes"].values()
    found = [
        int(days) for node in nodes if node["resource_type"] == "model" for days in _WINDOW.findall(node["raw_code"])
    ]
    return max(found, default=0)


def check_retention(project: Project) -> None:
    """Refuses settings that would delete what features or stability still read.

    Raises:
        UsageError: fewer days than the longest window of a feature, or than stability is measured over.

    """
    settings = project.home.settings
    if settings.raw_days is not None and settings.raw_days < (longest := longest_window(project)):
        raise UsageError(
            f"TRAITHOUSE_RAW_DAYS is {settings.raw_days}, and the longest window of a feature is {longest} days.",
            f"Set it to {longest} or more.",
        )
    if settings.ledger_days is not None and settings.ledger_days <= WINDOW_DAYS:
        raise UsageError(
            f"TRAITHOUSE_LEDGER_DAYS is {settings.ledger_days}, and stability is measured over {WINDOW_DAYS} days.",
            f"Set it to {WINDOW_DAYS + 1} or more.",
        )


def apply_retention(home: Home, as_of: datetime, *, notify: Notify = silent) -> dict[str, int]:
    """Deletes what is older than the settings say, in one transaction, and records it in state.retention.

    Args:
        home: where; hold its lock.
        as_of: clock of what is published, naive UTC.
        notify: progress.

    Returns:
        Deleted rows by table.

    """
    settings = home.settings
    if settings.raw_days is None and settings.ledger_days is None:
        return {}
    deleted: dict[str, int] = {}
    with home.connect() as connection:
        connection.execute("begin")
        if settings.raw_days is not None:
            deleted |= _prune_raw(connection, as_of - timedelta(days=settings.raw_days))
        if settings.ledger_days is not None:
            horizon = min([as_of - timedelta(days=settings.ledger_days), *_kept_clocks(home)])
            deleted["traits.trait_changes"] = prune_ledger(connection, horizon)
        deleted = {table: rows for table, rows in deleted.items() if rows}
        for table, rows in deleted.items():
            days = settings.ledger_days if table.startswith("traits.") else settings.raw_days
            connection.execute(
                """
                insert into state.retention (table_name, kept_from, rows_deleted, deleted_at, is_rebuilt)
                values ($table, $kept_from, $rows, $now, false)
                """,
                {"table": table, "kept_from": as_of - timedelta(days=days or 0), "rows": rows, "now": utc_now()},
            )
            notify(f"retention: {rows:,} rows of {table} deleted")
        connection.execute("commit")
    return deleted


def _prune_raw(connection: duckdb.DuckDBPyConnection, horizon: datetime) -> dict[str, int]:
    built = "load_id <= (select load_id from state.watermark)"
    deleted = {
        "raw.events": _deleted(connection, "raw.events", f"occurred_at < $horizon and {built}", horizon),
        "raw.rejected_events": _deleted(
            connection, "raw.rejected_events", f"loaded_at < $horizon and {built}", horizon
        ),
    }
    tables = connection.execute(
        "select schema_name, table_name from duckdb_tables() where starts_with(schema_name, 'raw_') order by all"
    ).fetchall()
    for schema, table in tables:
        relation = f'{schema}."{table}"'
        happened = vendor_time(connection, relation)
        if happened:
            deleted[f"{schema}.{table}"] = _deleted(connection, relation, f"{happened} < $horizon and {built}", horizon)
    return deleted


def _deleted(connection: duckdb.DuckDBPyConnection, relation: str, condition: str, horizon: datetime) -> int:
    row = connection.execute(f"delete from {relation} where {condition}", {"horizon": horizon}).fetchone()
    return int(row[0]) if row else 0


def _kept_clocks(home: Home) -> list[datetime]:
    """as_of of each snapshot that is kept, naive UTC."""
    clocks = [read_json(path).get("as_of") for path in (home.serving / "builds").glob("*/manifest.json")]
    return [datetime.fromisoformat(clock) for clock in clocks if clock]
