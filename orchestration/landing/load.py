"""Loads files into schema raw: append-only, repeatable, and nothing is lost.

The rules are those of the raw event contract (models/staging/generic/_generic.yml).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestration.errors import UsageError
from orchestration.home import Home, Notify, silent, utc_now
from orchestration.landing.batch import drop_origin, fill_batch, open_batch
from orchestration.landing.contract import FIELDS, RAW_TABLES
from orchestration.landing.event_tables import repeated_table
from orchestration.landing.loads import LandingTarget, LoadReport, land_batch, load_totals
from orchestration.landing.readers import read_records


def load(
    home: Home,
    files: Sequence[Path],
    *,
    mapping: Mapping[str, str] | None = None,
    timezone: str | None = None,
    source: str | None = None,
    table: str | None = None,
    keep_repeats: bool = False,
    encoding: str | None = None,
    now: datetime | None = None,
    notify: Notify = silent,
) -> LoadReport:
    """Loads files in one transaction; a file that cannot be read does not hold the others.

    Args:
        home: whose warehouse.
        files: CSV, JSON or Parquet, also compressed.
        mapping: field of the raw event contract -> column; a field that is not named takes the column of its name.
        timezone: time zone of times without an offset; UTC by default.
        source: name of the source; events without one are of source ``generic``.
        table: with it, the rows land unchanged in ``raw_<source>.<table>``.
        keep_repeats: equal rows of one file without an event_id are separate events.
        encoding: of the files' text, as Python names it; UTF-8 by default.
        now: loaded_at, naive UTC.
        notify: progress.

    Raises:
        UsageError: a wrong argument, no file could be read, or no row was accepted.
        WarehouseBusyError: another process holds the warehouse.

    """
    _check_arguments(files, mapping or {}, timezone, source, table, keep_repeats, encoding)
    loaded_at = now or utc_now()
    target = LandingTarget(source or "generic", table, mapping or {}, timezone or "UTC", keep_repeats)
    refused: dict[str, UsageError] = {}
    with home.lock("traithouse load"), home.connect() as connection:
        connection.execute(RAW_TABLES)
        open_batch(connection)
        for path in files:
            try:
                fill_batch(connection, str(path), read_records(path, encoding), path.name, notify)
            except UsageError as error:
                drop_origin(connection, str(path))
                refused[str(path)] = error
        read = [str(path) for path in files if str(path) not in refused]
        if not read:
            raise next(iter(refused.values()))
        connection.execute("begin")
        report = land_batch(connection, target, read, loaded_at)
        connection.execute("rollback" if report.load_id is None else "commit")
        home.note(loads=load_totals(connection))
    if not report.accepted and not report.duplicates and not report.forgotten:
        most_frequent = next(iter(report.reasons), "the files hold no rows")
        raise UsageError(
            f"No row was accepted; {report.rejected} rejected, most of all: {most_frequent}.",
            "See raw.rejected_events for file, line and reason of each; --map says which column gives a field.",
        )
    return replace(report, refused={path: f"{error.message} {error.hint}" for path, error in refused.items()})


def is_empty(home: Home) -> bool:
    """Whether nothing was ever loaded."""
    with home.lock("traithouse load"), home.connect() as connection:
        connection.execute(RAW_TABLES)
        return connection.execute("select 1 from raw.loads limit 1").fetchone() is None


def _check_arguments(
    files: Sequence[Path],
    mapping: Mapping[str, str],
    timezone: str | None,
    source: str | None,
    table: str | None,
    keep_repeats: bool,
    encoding: str | None,
) -> None:
    if not files:
        raise UsageError("No file was named.", "Name files: traithouse load FILE...")
    unknown = sorted(set(mapping) - set(FIELDS))
    if unknown:
        raise UsageError(f"{unknown[0]} is not a field of an event.", f"Fields are: {', '.join(FIELDS)}.")
    try:
        ZoneInfo(timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        raise UsageError(f"{timezone} is not a time zone.", "Use a name such as Europe/Berlin.") from None
    if table and not source:
        raise UsageError("--table needs --source.", "For example: traithouse load FILE --source segment --table tracks")
    if table and keep_repeats:
        raise UsageError(
            "--keep-repeats does not go with --table.", "Leave it out: equal rows of a vendor's table land once."
        )
    if table and timezone:
        raise UsageError(
            "--timezone does not go with --table.", "Leave it out: times of a vendor's table without an offset are UTC."
        )
    try:
        codecs.lookup(encoding or "utf-8")
    except LookupError:
        raise UsageError(f"{encoding} is not an encoding.", "Use a name such as utf-16 or windows-1252.") from None
    if repeated := repeated_table(source or "", table or ""):
        raise UsageError(
            f"Table {table} holds nothing that {repeated} does not hold.",
            f"Load {repeated} instead: --table {repeated}.",
        )
    if table and mapping:
        raise UsageError("--map does not go with --table.", "Leave it out: a vendor's table lands as it is.")
    for name in filter(None, (source, table)):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            raise UsageError(f"{name!r} cannot be a name.", "Use lower case letters, digits and _.")
