"""Copies raw rows from where they already are: a Parquet folder, a Postgres table; only what is new.

The copy is append-only, and the models read the copy alone. So an incremental refresh equals a full one, whatever is
rewritten or deleted upstream: a row that changed there is one more row here, and one that vanished there stays.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.errors import UsageError
from orchestration.home import Home, Notify, silent, utc_now
from orchestration.landing.batch import drop_origin, fill_batch, open_batch
from orchestration.landing.contract import RAW_TABLES
from orchestration.landing.declared import Pull
from orchestration.landing.loads import land_batch, load_totals
from orchestration.landing.postgres import PostgresReader, cursor_text
from orchestration.landing.readers import read_records


@dataclass(frozen=True)
class PullReport:
    """What one pull did.

    Attributes:
        source: whose table it is: ``raw`` or a vendor.
        table: where the rows go.
        load_id: number of the load; null when nothing was added.
        files: Parquet files that were read.
        accepted: rows added.
        duplicates: rows that were there already.
        rejected: rows put aside in raw.rejected_events.
        reasons: rejected rows by reason.
        forgotten: rows of somebody who was forgotten.
        refused: file -> why it could not be read; it is tried again by the next pull.
        error: why the pull brought nothing, or empty.

    """

    source: str
    table: str
    load_id: int | None = None
    files: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    forgotten: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether something that is there could not be had."""
        return bool(self.error or self.refused)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def pull(
    home: Home, pulls: Sequence[Pull], *, now: datetime | None = None, notify: Notify = silent
) -> list[PullReport]:
    """Pulls each table in a transaction of its own; one that cannot be had holds no other.

    Args:
        home: where to.
        pulls: what is declared.
        now: loaded_at, naive UTC.
        notify: progress.

    Raises:
        WarehouseBusyError: another process holds the warehouse.

    """
    if not pulls:
        return []
    loaded_at = now or utc_now()
    reports = []
    with home.lock("traithouse pull"), home.connect() as connection:
        connection.execute(RAW_TABLES)
        for one in pulls:
            connection.execute("begin")
            try:
                follow = _pull_files if one.declared.parquet else _pull_postgres
                reports.append(follow(home, connection, one, loaded_at, notify))
                connection.execute("commit")
            except UsageError as error:
                connection.execute("rollback")
                reports.append(PullReport(one.source, one.landed_in, error=f"{error.message} {error.hint}"))
            home.note(loads=load_totals(connection))
    return reports


def _pull_files(
    home: Home, connection: duckdb.DuckDBPyConnection, one: Pull, loaded_at: datetime, notify: Notify
) -> PullReport:
    """Reads the files that are new, or whose size or time of change is not that of their last pull."""
    pattern = one.folder_glob(home.settings.project)
    known = {
        path: (size, modified)
        for path, size, modified in connection.execute(
            "select path, size_bytes, modified_ns from raw.pulled_files where source = $1 and table_name = $2",
            [one.source, one.table],
        ).fetchall()
    }
    found = _stamps(pattern)
    if not found and not known:
        raise UsageError(f"{one.where}: pull.parquet: no file matches {pattern}.", "Check the path and its pattern.")
    refused = {}
    read = {}
    open_batch(connection)
    for path, stamp in found.items():
        if known.get(path) == stamp:
            continue
        try:
            fill_batch(connection, path, read_records(Path(path)), Path(path).name, notify)
            read[path] = stamp
        except UsageError as error:
            drop_origin(connection, path)
            refused[path] = error.message
    report = _land(connection, one, list(read), loaded_at)
    for path, (size, modified) in read.items():
        connection.execute(
            "delete from raw.pulled_files where source = $1 and table_name = $2 and path = $3",
            [one.source, one.table, path],
        )
        connection.execute(
            "insert into raw.pulled_files values ($1, $2, $3, $4, $5, $6, $7)",
            [one.source, one.table, path, size, modified, loaded_at, report.load_id],
        )
    return replace(report, files=len(read), refused=refused)


def _stamps(pattern: str) -> dict[str, tuple[int, int]]:
    """Path -> size in bytes and time of change in nanoseconds, taken before the file is read."""
    stamps = {}
    # An absolute pattern, which Path.glob refuses.
    for path in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207
        try:
            facts = Path(path).stat()
        except FileNotFoundError:
            continue
        if Path(path).is_file():
            stamps[path] = (facts.st_size, facts.st_mtime_ns)
    return stamps


def _pull_postgres(
    home: Home, connection: duckdb.DuckDBPyConnection, one: Pull, loaded_at: datetime, notify: Notify
) -> PullReport:
    """Reads rows from the last cursor less the overlap on; another table or cursor is read from its beginning."""
    declared = one.declared.postgres
    if declared is None:
        raise UsageError(f"{one.where}: pull: it names no Postgres table.", "Declare pull.postgres.")
    row = connection.execute(
        """
        select cursor_value from raw.pulled_cursors
        where source = $1 and table_name = $2 and origin = $3 and cursor_column = $4
        """,
        [one.source, one.table, declared.table, declared.cursor],
    ).fetchone()
    reader = PostgresReader(declared, one.where)
    origin = f"postgres {declared.table}"
    open_batch(connection)
    fill_batch(connection, origin, reader.records(row[0] if row else None, loaded_at), origin, notify)
    report = _land(connection, one, [origin], loaded_at)
    connection.execute("delete from raw.pulled_cursors where source = $1 and table_name = $2", [one.source, one.table])
    connection.execute(
        "insert into raw.pulled_cursors values ($1, $2, $3, $4, $5, $6, $7)",
        [
            one.source,
            one.table,
            declared.table,
            declared.cursor,
            cursor_text(reader.newest),
            loaded_at,
            report.load_id,
        ],
    )
    return report


def _land(connection: duckdb.DuckDBPyConnection, one: Pull, origins: Sequence[str], loaded_at: datetime) -> PullReport:
    to = one.destination
    row = connection.execute("select 1 from landing limit 1").fetchone()
    if row is None:
        return PullReport(one.source, one.landed_in)
    report = land_batch(connection, to, origins, loaded_at)
    error = ""
    if report.load_id is not None and not report.accepted and not report.duplicates and not report.forgotten:
        error = f"No row was accepted, most of all: {next(iter(report.reasons))}; see raw.rejected_events."
    return PullReport(one.source, **asdict(report), error=error)
