"""Loads files into schema raw: append-only, repeatable, and nothing is lost.

The rules are those of the raw event contract (models/staging/generic/_generic.yml).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestration.errors import UsageError
from orchestration.home import Home, Notify, silent, utc_now
from orchestration.landing.batch import fill_batch, open_batch
from orchestration.landing.contract import FIELDS, RAW_TABLES
from orchestration.landing.loads import LandingTarget, LoadReport, land_batch, load_totals
from orchestration.landing.readers import file_kind, read_records


def load(
    home: Home,
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
        home: whose warehouse.
        files: CSV, NDJSON or Parquet, also compressed.
        mapping: field of the raw event contract -> column; a field that is not named takes the column of its name.
        timezone: time zone of times without an offset.
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
    target = LandingTarget(source or "generic", table, mapping or {}, timezone, keep_repeats)
    with home.lock("traithouse load"), home.connect() as connection:
        connection.execute(RAW_TABLES)
        connection.execute("begin")
        open_batch(connection)
        for path in files:
            fill_batch(connection, str(path), read_records(path), path.name, notify)
        report = land_batch(connection, target, [str(path) for path in files], loaded_at)
        connection.execute("rollback" if report.load_id is None else "commit")
        home.note(loads=load_totals(connection))
    if not report.accepted and not report.duplicates and not report.forgotten:
        most_frequent = next(iter(report.reasons), "the files hold no rows")
        raise UsageError(
            f"No row was accepted; {report.rejected} rejected, most of all: {most_frequent}.",
            "See raw.rejected_events for file, line and reason of each; --map says which column gives a field.",
        )
    return report


def is_empty(home: Home) -> bool:
    """Whether nothing was ever loaded."""
    with home.lock("traithouse load"), home.connect() as connection:
        connection.execute(RAW_TABLES)
        return connection.execute("select 1 from raw.loads limit 1").fetchone() is None


def _check_arguments(
    files: Sequence[Path],
    mapping: Mapping[str, str],
    timezone: str,
    source: str | None,
    table: str | None,
    keep_repeats: bool,
) -> None:
    if not files:
        raise UsageError("No file was named.", "Name files: traithouse load FILE...")
    unknown = sorted(set(mapping) - set(FIELDS))
    if unknown:
        raise UsageError(f"{unknown[0]} is not a field of an event.", f"Fields are: {', '.join(FIELDS)}.")
    try:
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise UsageError(f"{timezone} is not a time zone.", "Use a name such as Europe/Berlin.") from None
    if table and not source:
        raise UsageError("--table needs --source.", "For example: traithouse load FILE --source segment --table tracks")
    if table and keep_repeats:
        raise UsageError(
            "--keep-repeats does not go with --table.", "Leave it out: equal rows of a vendor's table land once."
        )
    if table and mapping:
        raise UsageError("--map does not go with --table.", "Leave it out: a vendor's table lands as it is.")
    for name in filter(None, (source, table)):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise UsageError(f"{name!r} cannot be a name.", "Use lower case letters, digits and _.")
