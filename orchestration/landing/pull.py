"""Copies new raw rows from where they already are: Parquet files, here or in an object store, or a table of a database.

The copy is append-only, and the models read only the copy. So an incremental refresh equals a full one, whatever is
rewritten or deleted upstream: a row that changed there is another row here, and a row that was deleted there stays.
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path

import duckdb

from orchestration.errors import UsageError
from orchestration.home import Home, Notify, silent, utc_now
from orchestration.landing.batch import drop_origin, fill_batch, open_batch, transaction
from orchestration.landing.contract import RAW_TABLES
from orchestration.landing.database_rows import DatabaseReader, cursor_text
from orchestration.landing.declared import Pull
from orchestration.landing.loads import land_batch, load_totals
from orchestration.landing.object_store import ObjectStamp, ObjectStore
from orchestration.landing.places import DatabaseTable
from orchestration.landing.readers import read_records
from orchestration.landing.schemas import Schemas


@dataclass(frozen=True)
class PullReport:
    """What the pull of one table did.

    Attributes:
        source: whose table it is: ``raw`` or a vendor.
        table: where the rows go.
        load_id: number of the load; null when nothing was added.
        files: number of Parquet files that were read.
        rows: number of rows that were read.
        bytes: of the files, or of the rows as JSON text.
        predicate: the condition on the cursor that the database applied, empty when every row was asked for; of files,
            how many were read.
        accepted: rows added.
        duplicates: rows that were there already.
        rejected: rows that are kept, with reasons, in raw.rejected_events.
        reasons: rejected rows by reason.
        forgotten: rows of data subjects who were forgotten; nothing of them is kept.
        refused: file -> why it could not be read; the next pull tries it again.
        origin: table of the database, or pattern of the files.
        passed_over: table of the schema -> why it is not read.
        error: why the pull added nothing; empty when it did not fail.

    """

    source: str
    table: str
    load_id: int | None = None
    files: int = 0
    rows: int = 0
    bytes: int = 0
    predicate: str = ""
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    forgotten: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    origin: str = ""
    passed_over: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether the table or a file of it could not be read."""
        return bool(self.error or self.refused)

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def pull(
    home: Home, pulls: Sequence[Pull], *, now: datetime | None = None, notify: Notify = silent
) -> list[PullReport]:
    """Pulls each table in a transaction of its own; a table that cannot be read does not hold up the others.

    Rows are read before the transaction begins, into a temporary table, which DuckDB keeps on disk beyond its memory
    limit; so memory does not grow with the rows. A cursor, or the stamps of files, is written with its rows.

    Args:
        home: whose warehouse.
        pulls: the declared pulls.
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
        schemas = Schemas()
        for declared_pull in pulls:
            try:
                found = schemas.tables(declared_pull)
            except UsageError as error:
                reports.append(_failed(declared_pull, error))
                continue
            for single in found.pulls:
                try:
                    if rows := single.declared.rows:
                        reports.append(_pull_rows(connection, single, rows, loaded_at, notify))
                    else:
                        reports.append(_pull_files(home, connection, single, loaded_at, notify))
                except UsageError as error:
                    reports.append(_failed(single, error))
                home.note(loads=load_totals(connection))
            if found.passed_over:
                reports.append(PullReport(declared_pull.source, declared_pull.landed_in, passed_over=found.passed_over))
    return reports


def _failed(pulled: Pull, error: UsageError) -> PullReport:
    return PullReport(pulled.source, pulled.landed_in, error=f"{error.message} {error.hint}")


def _pull_files(
    home: Home, connection: duckdb.DuckDBPyConnection, pulled: Pull, loaded_at: datetime, notify: Notify
) -> PullReport:
    """Reads the files that are new, or whose size or time of change is not that of their last pull."""
    pattern = pulled.folder_glob(home.settings.project)
    known = {
        path: ObjectStamp(size_bytes, modified_ns, etag)
        for path, size_bytes, modified_ns, etag in connection.execute(
            """
            select path, size_bytes, modified_ns, coalesce(etag, '') from raw.pulled_files
            where source = $source and table_name = $table_name
            """,
            {"source": pulled.source, "table_name": pulled.table},
        ).fetchall()
    }
    where = f"{pulled.where}: pull.{pulled.declared.place}"
    store = ObjectStore(pattern, where) if "://" in pattern else None
    found = store.stamps() if store else _stamps(pattern)
    if not found and not known:
        raise UsageError(
            f"{where}: no file matches {pattern}.",
            "Check the path and its pattern, then pull again.",
        )
    refused = {}
    read = {}
    rows = 0
    open_batch(connection)
    for path, stamp in found.items():
        if known.get(path) == stamp:
            continue
        try:
            with store.copy(path) if store else nullcontext(Path(path)) as file:
                rows += fill_batch(connection, path, read_records(file), file.name, notify)
                read[path] = stamp
        except UsageError as error:
            drop_origin(connection, path)
            refused[path] = error.message.replace(str(file), path) if store else error.message
    with transaction(connection):
        report = _land(connection, pulled, list(read), loaded_at)
        for path, stamp in read.items():
            row = {
                "source": pulled.source,
                "table_name": pulled.table,
                "path": path,
                "pulled_at": loaded_at,
                "load_id": report.load_id,
                **stamp._asdict(),
            }
            connection.execute(
                "delete from raw.pulled_files where source = $source and table_name = $table_name and path = $path",
                {name: row[name] for name in ("source", "table_name", "path")},
            )
            connection.execute(
                """
                insert into raw.pulled_files (
                    source, table_name, path, size_bytes, modified_ns, etag, pulled_at, load_id
                )
                values ($source, $table_name, $path, $size_bytes, $modified_ns, $etag, $pulled_at, $load_id)
                """,
                row,
            )
    size = sum(stamp.size_bytes for stamp in read.values())
    new = f"{len(read)} of {len(found)} files, which are new or changed"
    return replace(report, files=len(read), rows=rows, bytes=size, predicate=new, refused=refused, origin=pattern)


def _stamps(pattern: str) -> dict[str, ObjectStamp]:
    """Path -> its stamp, taken before the file is read."""
    stamps = {}
    # Path.glob refuses an absolute pattern.
    for path in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207
        try:
            facts = Path(path).stat()
        except FileNotFoundError:
            continue
        if Path(path).is_file():
            stamps[path] = ObjectStamp(facts.st_size, facts.st_mtime_ns)
    return stamps


def _pull_rows(
    connection: duckdb.DuckDBPyConnection, pulled: Pull, declared: DatabaseTable, loaded_at: datetime, notify: Notify
) -> PullReport:
    """Reads rows from the last cursor minus the overlap on; another table or cursor column is read from its start."""
    place = pulled.declared.place
    key = {"source": pulled.source, "table_name": pulled.table}
    cursor = {"origin": declared.table, "cursor_column": declared.cursor}
    last = connection.execute(
        """
        select cursor_value from raw.pulled_cursors
        where source = $source and table_name = $table_name and origin = $origin and cursor_column = $cursor_column
        """,
        key | cursor,
    ).fetchone()
    reader = DatabaseReader(declared, f"{pulled.where}: pull.{place}")
    origin = f"{place} {declared.table}"
    open_batch(connection)
    fill_batch(connection, origin, reader.records(last[0] if last else None, loaded_at), origin, notify)
    with transaction(connection):
        report = _land(connection, pulled, [origin], loaded_at)
        connection.execute("delete from raw.pulled_cursors where source = $source and table_name = $table_name", key)
        connection.execute(
            """
            insert into raw.pulled_cursors (
                source, table_name, origin, cursor_column, cursor_value, pulled_at, load_id
            )
            values ($source, $table_name, $origin, $cursor_column, $cursor_value, $pulled_at, $load_id)
            """,
            {
                **key,
                **cursor,
                "cursor_value": cursor_text(reader.newest),
                "pulled_at": loaded_at,
                "load_id": report.load_id,
            },
        )
    return replace(report, rows=reader.rows, bytes=reader.bytes, predicate=reader.predicate, origin=origin)


def _land(
    connection: duckdb.DuckDBPyConnection, pulled: Pull, origins: Sequence[str], loaded_at: datetime
) -> PullReport:
    if connection.execute("select 1 from landing limit 1").fetchone() is None:
        return PullReport(pulled.source, pulled.landed_in)
    report = land_batch(connection, pulled.target, origins, loaded_at)
    error = ""
    if report.load_id is not None and not report.accepted and not report.duplicates and not report.forgotten:
        error = f"No row was accepted, most of all: {next(iter(report.reasons))}; see raw.rejected_events."
    return PullReport(pulled.source, **asdict(report), error=error)
