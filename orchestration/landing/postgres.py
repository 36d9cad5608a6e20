"""Reads the new rows of a Postgres table through DuckDB's extension, which is installed as a wheel, never downloaded.

Postgres itself makes the JSON of a row, so no type is lost. The connection string, which has the password, stays in a
separate connection in memory: it is in no error, log, table or file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import duckdb

from orchestration.errors import TraithouseError, UsageError
from orchestration.landing.declared import PostgresTable, environment
from orchestration.landing.records import RawRecord, object_record

# Type of a cursor column -> SQL that writes it as text; an infinite time does not move the cursor.
_TIME = "case when isfinite({column}) then to_char({utc}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US') end"
_CURSORS = {
    "timestamp with time zone": _TIME.format(column="{column}", utc="{column} at time zone 'UTC'"),
    "timestamp without time zone": _TIME.format(column="{column}", utc="{column}"),
    "date": _TIME.format(column="{column}", utc="{column}"),
    "bigint": "{column}::text",
    "integer": "{column}::text",
    "smallint": "{column}::text",
}
# Words of the server or its client library -> our message; the rest of their text may quote the connection string.
_UNREACHABLE = {
    "password authentication failed": "user or password is refused",
    "no password supplied": "it wants a password",
    "no pg_hba.conf entry": "it does not let this user in from here",
    "could not translate host name": "its host is not known",
    "Connection refused": "nothing listens there",
    "No such file or directory": "nothing listens there",
    "timeout": "it did not answer in time",
    "does not exist": "it has no such database or user",
    "SSL": "the encrypted connection failed",
}
Cursor = datetime | int


class PostgresReader:
    """Reads the rows of a table from a cursor on; ``newest`` is the greatest cursor of this pull and earlier ones.

    Raises:
        UsageError: the server cannot be reached, or has no such table or column.

    """

    def __init__(self, declared: PostgresTable, where: str) -> None:
        self.newest: Cursor | None = None
        self._declared = declared
        self._where = f"{where}: pull.postgres"

    def records(self, last: str | None, now: datetime) -> Iterator[RawRecord]:
        """Rows whose cursor is ``last`` minus the overlap or greater, and rows without a cursor.

        Args:
            last: greatest cursor of the last pull, as ``cursor_text`` wrote it; null reads every row.
            now: naive UTC; a later cursor (from a wrong clock) counts as now for the next pull.

        """
        failure = ""
        with duckdb.connect() as connection, _client_settings():
            connection.execute(f"load '{_extension()}'")
            self._attach(connection)
            kind = self._cursor_kind(connection)
            self.newest = _read_cursor(last, kind)
            try:
                rows = connection.execute(_in_postgres(self._rows_sql(kind)))
                while batch := rows.fetchmany(10_000):
                    for text, cursor in batch:
                        self._remember(cursor, kind, now)
                        # Rows of a table have no numbers: without one, a row that is rejected again counts as the same.
                        yield object_record(0, text)
            except duckdb.Error as error:
                failure = _server_words(str(error))
        if failure:
            raise UsageError(
                f"{self._where}: {self._declared.table} cannot be read: {failure}.",
                "Check the server, then pull again.",
            )

    def _attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        dsn = environment(self._declared.dsn_env, f"{self._where}.dsn_env")
        reason = ""
        try:
            connection.execute(f"attach {_literal(dsn)} as upstream (type postgres, read_only)")
        except duckdb.Error as error:
            words = str(error).replace(dsn, "")
            reason = next(
                (message for text, message in _UNREACHABLE.items() if text in words),
                f"what {self._declared.dsn_env} says cannot be used, or the server does not answer",
            )
        # Raised outside the except block, so that the driver's error, which quotes the string, is not its context.
        if reason:
            raise UsageError(
                f"{self._where}.dsn_env: the Postgres of {self._declared.dsn_env} cannot be reached: {reason}.",
                f"Check {self._declared.dsn_env}: host=... port=... user=... password=... dbname=...",
            )

    def _cursor_kind(self, connection: duckdb.DuckDBPyConnection) -> str:
        """Type of the cursor column, as Postgres names it."""
        table, column = self._declared.table, self._declared.cursor
        sql = f"""
            select
                to_regclass({_literal(_quoted(table))}) is not null,
                (
                    select format_type(atttypid, null) from pg_attribute
                    where attrelid = to_regclass({_literal(_quoted(table))}) and attname = {_literal(column)}
                        and not attisdropped
                )
        """
        failure = ""
        try:
            found, kind = connection.execute(_in_postgres(sql)).fetchone() or (False, None)
        except duckdb.Error as error:
            failure = _server_words(str(error))
        if failure:
            raise UsageError(f"{self._where}: {table} cannot be read: {failure}.", "Check the server, then pull again.")
        if not found:
            raise UsageError(f"{self._where}.table: there is no table {table}.", "Check schema and table.")
        if kind not in _CURSORS:
            what = f"is of type {kind}" if kind else "is not there"
            raise UsageError(
                f"{self._where}.cursor: column {column} of {table} {what}.",
                "Name a column of times, dates or whole numbers that rises with new rows.",
            )
        if (self._declared.overlap_time is None) == _is_time(kind):
            raise UsageError(
                f"{self._where}.overlap: {self._declared.overlap!r} does not fit a cursor of type {kind}.",
                "Write an interval such as '1 hour' for a time, and a number for a number.",
            )
        return str(kind)

    def _rows_sql(self, kind: str) -> str:
        column = '"' + self._declared.cursor.replace('"', '""') + '"'
        since = ""
        if self.newest is not None:
            # The bound itself is read again, because rows with the same cursor may have come later.
            since = f" where {column} >= {self._start(kind, self.newest)} or {column} is null"
        return (
            f"select row_to_json(traithouse_row)::text, {_CURSORS[kind].format(column=column)}"
            f" from {_quoted(self._declared.table)} as traithouse_row{since}"
        )

    def _start(self, kind: str, newest: Cursor) -> str:
        """SQL of the least cursor to read."""
        if isinstance(newest, int):
            return str(newest - (self._declared.overlap_number or 0))
        start = newest - (self._declared.overlap_time or timedelta())
        if kind == "timestamp with time zone":
            start = start.replace(tzinfo=UTC)
        return f"{_literal(start.isoformat())}::{kind}"

    def _remember(self, text: str | None, kind: str, now: datetime) -> None:
        cursor = _read_cursor(text, kind)
        if isinstance(cursor, datetime):
            cursor = min(cursor, now)
        if cursor is not None and (self.newest is None or cursor > self.newest):  # type: ignore[operator]
            self.newest = cursor


def _read_cursor(text: str | None, kind: str) -> Cursor | None:
    """A cursor from its text; null when there is none, or when the column had another type before."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text) if _is_time(kind) else int(text)
    except ValueError:
        return None


def cursor_text(cursor: Cursor | None) -> str | None:
    """A cursor as text for raw.pulled_cursors: ISO 8601 in UTC, or digits."""
    if cursor is None:
        return None
    return cursor.isoformat() if isinstance(cursor, datetime) else str(cursor)


def _is_time(kind: str) -> bool:
    return not kind.endswith("int") and kind != "integer"


def _extension() -> str:
    """File of the extension for the installed version of DuckDB, as the inside of a SQL literal."""
    spec = find_spec("duckdb_extension_postgres_scanner")
    folder = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" if spec and spec.origin else Path()
    path = folder / "postgres_scanner.duckdb_extension"
    if not path.is_file():
        raise TraithouseError(
            "DuckDB's extension for Postgres is not installed.",
            f"Install it: pip install duckdb-extension-postgres-scanner=={duckdb.__version__}",
        )
    return str(path).replace("'", "''")


@contextmanager
def _client_settings() -> Iterator[None]:
    """Sets what Postgres's client library reads from the environment; what is set already stays, except the time zone.

    Times become text in UTC, because equal rows would otherwise differ between servers with different settings.
    """
    wanted = {"PGAPPNAME": "traithouse", "PGCONNECT_TIMEOUT": "10"} | {
        name: os.environ[name] for name in ("PGAPPNAME", "PGCONNECT_TIMEOUT") if name in os.environ
    }
    wanted["PGTZ"] = "UTC"
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _server_words(text: str) -> str:
    """The server's own error line; the connection string is never in it."""
    match = re.search(r"(?:ERROR|FATAL):\s+([^\n]+)", text)
    return match[1].strip().rstrip(".") if match else "the connection broke"


def _in_postgres(sql: str) -> str:
    """SQL that Postgres itself runs, so that its index on the cursor is used."""
    return f"select * from postgres_query('upstream', {_literal(sql)})"


def _quoted(table: str) -> str:
    return ".".join(f'"{part}"' for part in table.split("."))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
