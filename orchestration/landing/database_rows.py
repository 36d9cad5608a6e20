r"""Reads the new rows of a table in any database that SQLAlchemy reaches, by a server-side cursor.

Postgres itself makes the JSON of a row. Elsewhere the driver's values become JSON here: numbers keep their digits,
times their microseconds, bytes become ``\x`` and hexadecimal digits as in Postgres, JSON stays JSON.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from orchestration.errors import UsageError
from orchestration.landing.database import connected, server_words
from orchestration.landing.declared import environment
from orchestration.landing.places import DatabaseTable
from orchestration.landing.records import NOT_JSON, RawRecord, exact_number, object_record, row_record

# A fetch asks for a few rows at first, then for so many at most, and for fewer where the widest row so far says that
# they would be more bytes.
FIRST_ROWS, FETCHED_ROWS, FETCHED_BYTES = 10, 1_000, 8_000_000
# MariaDB's JSON is a text that is checked.
_MARIADB_CHECKS = """
    select check_clause from information_schema.check_constraints
    where constraint_schema = coalesce(:schema, database()) and table_name = :table
"""
_JSON_CHECK = re.compile(r"json_valid\(`?(.+?)`?\)", re.IGNORECASE)
_JSON_TYPES = ("JSON", "JSONB", "VARIANT", "OBJECT", "ARRAY")
Cursor = datetime | int


class DatabaseReader:
    """Reads the rows of a table from a cursor on.

    Attributes:
        newest: the greatest cursor of this pull and earlier ones.
        rows: how many were read.
        bytes: of these rows as JSON text.
        predicate: the condition that the server applied; empty when every row was asked for.

    Raises:
        UsageError: the server cannot be reached, or has no such table or column.

    """

    def __init__(self, declared: DatabaseTable, where: str) -> None:
        self.newest: Cursor | None = None
        self.rows = self.bytes = 0
        self.predicate = ""
        self._declared = declared
        self._where = where
        self._variable, self._field = declared.address_env

    def records(self, last: str | None, now: datetime) -> Iterator[RawRecord]:
        """Rows whose cursor is ``last`` minus the overlap or greater, and rows without a cursor.

        Args:
            last: greatest cursor of the last pull, as ``cursor_text`` wrote it; null reads every row.
            now: naive UTC; a later cursor (from a wrong clock) counts as now for the next pull.

        """
        where = f"{self._where}.{self._field}"
        address = environment(self._variable, where)
        with connected(address, where, self._variable) as connection:
            failure = ""
            try:
                columns = self._columns(connection)
                kind = self._cursor_type(columns, connection.dialect)
                self.newest = _read_cursor(last, kind)
                for row, cursor in self._fetched(connection, columns, kind):
                    self._remember(cursor, kind, now)
                    self.rows += 1
                    yield row
            except sa.exc.SQLAlchemyError as error:
                failure = server_words(error, address)
        # Outside the except block: the driver's error may quote the address, and is not the context of this one.
        if failure:
            raise UsageError(
                f"{self._where}: {self._declared.table} cannot be read: {failure}.",
                "Check the server, then pull again.",
            )

    def _fetched(
        self, connection: sa.Connection, columns: Mapping[str, Any], kind: Any
    ) -> Iterator[tuple[RawRecord, object]]:
        """Each row and its cursor, in no order."""
        schema, _, name = self._declared.table.rpartition(".")
        table = sa.table(name, *(sa.column(column) for column in columns), schema=schema or None)
        cursor = self._declared.cursor
        in_postgres = connection.dialect.name == "postgresql"
        if in_postgres:
            rows = table.alias("traithouse_row")
            whole = sa.func.row_to_json(sa.literal_column("traithouse_row"))
            query = sa.select(sa.cast(whole, sa.Text), sa.cast(rows.c[cursor], sa.Text))
            column = rows.c[cursor]
        else:
            query = sa.select(*table.c)
            column = table.c[cursor]
        if self.newest is not None:
            # The bound itself is read again, because rows with the same cursor may have come later.
            query = query.where((column >= sa.literal(self._start(kind, self.newest), kind)) | column.is_(None))
            self.predicate = _predicate(sa.column(cursor), self._start(kind, self.newest), kind, connection.dialect)
        position = list(columns).index(cursor)
        to_json = _RowMaker(connection, columns, schema, name) if not in_postgres else None
        rows_asked, widest = FIRST_ROWS, 1
        # Reflection in MySQL turns error events off for the connection.
        options = {"stream_results": True, "max_row_buffer": FETCHED_ROWS, "skip_user_error_events": False}
        with connection.execution_options(**options).execute(query) as result:
            while batch := result.fetchmany(rows_asked):
                for values in batch:
                    # Rows of a table have no numbers: without one, a row that is rejected again counts as the same.
                    record = to_json(values) if to_json else object_record(0, values[0])
                    size = len(record.raw.encode(errors="surrogatepass"))
                    self.bytes += size
                    widest = max(widest, size)
                    yield record, values[position] if to_json else values[1]
                rows_asked = max(1, min(FETCHED_ROWS, rows_asked * 10, FETCHED_BYTES // widest))

    def _columns(self, connection: sa.Connection) -> dict[str, Any]:
        """Column -> its type."""
        schema, _, name = self._declared.table.rpartition(".")
        found: dict[str, Any] | None = None
        try:
            with warnings.catch_warnings():
                # A type that SQLAlchemy does not know is read as its driver gives it.
                warnings.simplefilter("ignore", sa.exc.SAWarning)
                found = {
                    str(column["name"]): column["type"]
                    for column in sa.inspect(connection).get_columns(name, schema=schema or None)
                }
        except sa.exc.NoSuchTableError:
            pass
        if not found:
            table = self._declared.table
            raise UsageError(f"{self._where}.table: there is no table {table}.", "Check schema and table.")
        return found

    def _cursor_type(self, columns: Mapping[str, Any], dialect: sa.Dialect) -> Any:
        table, column = self._declared.table, self._declared.cursor
        kind = columns.get(column)
        name = "" if kind is None else _type_name(kind, dialect)
        # A dialect's own type of times, such as Snowflake's TIMESTAMP_TZ, need not be one of SQLAlchemy's.
        own = type(kind).__name__.upper()
        if own.startswith("TIMESTAMP") and not _is_time(kind):
            kind = sa.DateTime(timezone=own.endswith("TZ") and not own.endswith("NTZ"))
        if not (_is_time(kind) or _is_number(kind)):
            what = f"is of type {name}" if name else "is not there"
            raise UsageError(
                f"{self._where}.cursor: column {column} of {table} {what}.",
                "Name a column of times, dates or whole numbers that rises with new rows.",
            )
        if (self._declared.overlap_time is None) == _is_time(kind):
            raise UsageError(
                f"{self._where}.overlap: {self._declared.overlap!r} does not fit a cursor of type {name}.",
                "Write an interval such as '1 hour' for a time, and a number for a number.",
            )
        return kind

    def _start(self, kind: Any, newest: Cursor) -> object:
        """The least cursor to read."""
        if isinstance(newest, int):
            return newest - (self._declared.overlap_number or 0)
        start = newest - (self._declared.overlap_time or timedelta())
        if isinstance(kind, sa.Date):
            return start.date()
        return start.replace(tzinfo=UTC) if kind.timezone else start

    def _remember(self, value: object, kind: Any, now: datetime) -> None:
        cursor = _read_cursor(value, kind)
        if isinstance(cursor, datetime):
            cursor = min(cursor, now)
        if cursor is not None and (self.newest is None or cursor > self.newest):  # type: ignore[operator]
            self.newest = cursor


class _RowMaker:
    """Makes the record of a row from a driver's values."""

    def __init__(self, connection: sa.Connection, columns: Mapping[str, Any], schema: str, table: str) -> None:
        self._names = list(columns)
        mysql = connection.dialect.name in ("mysql", "mariadb")
        # MySQL's TIMESTAMP is an instant, which its drivers give without the zone of the session.
        self._utc = {name for name, kind in columns.items() if mysql and isinstance(kind, sa.TIMESTAMP)}
        self._json = {name for name, kind in columns.items() if type(kind).__name__.upper() in _JSON_TYPES}
        if getattr(connection.dialect, "is_mariadb", False):
            checks = connection.execute(sa.text(_MARIADB_CHECKS), {"schema": schema or None, "table": table}).scalars()
            self._json |= {match[1] for check in checks if (match := _JSON_CHECK.fullmatch(check))}

    def __call__(self, values: Any) -> RawRecord:
        members = [(name, self._member(name, value)) for name, value in zip(self._names, values, strict=True)]
        record = row_record(0, "", members)
        raw = json.dumps(dict(members), ensure_ascii=False) if record.row is None else record.row
        return replace(record, raw=raw)

    def _member(self, name: str, value: object) -> object:
        if name in self._utc and isinstance(value, datetime):
            value = value.replace(tzinfo=UTC)
        if name in self._json and isinstance(value, str):
            known = object_record(0, '{"value":' + value + "}")
            return value if known.error == NOT_JSON or known.row is None else json.loads(known.row)["value"]
        return _plain(value)


def _plain(value: object) -> object:
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)
    if isinstance(value, Decimal):
        return exact_number(str(value)) if value.is_finite() else str(value)
    if isinstance(value, datetime):
        return (value.astimezone(UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _clock(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return "\\x" + bytes(value).hex()
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(part) for part in value]
    return str(value)


def _clock(value: timedelta) -> str:
    """Hours, minutes and seconds, as MySQL writes a TIME."""
    seconds, micros = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    sign = "-" if value < timedelta() else ""
    text = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{micros:06}" if micros else text


def _read_cursor(value: object, kind: Any) -> Cursor | None:
    """A cursor, naive UTC if it is a time; null when there is none, or when the column had another type before."""
    if value is None:
        return None
    try:
        if not _is_time(kind):
            return int(str(value))
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at


def cursor_text(cursor: Cursor | None) -> str | None:
    """A cursor as text for raw.pulled_cursors: ISO 8601 in UTC, or digits."""
    if cursor is None:
        return None
    return cursor.isoformat() if isinstance(cursor, datetime) else str(cursor)


def _is_time(kind: Any) -> bool:
    return isinstance(kind, sa.DateTime | sa.Date)


def _is_number(kind: Any) -> bool:
    return isinstance(kind, sa.Integer) or (isinstance(kind, sa.Numeric) and kind.scale == 0)


def _type_name(kind: Any, dialect: sa.Dialect) -> str:
    try:
        return str(kind.compile(dialect=dialect)).lower()
    except sa.exc.CompileError:
        return "unknown to SQLAlchemy"


def _predicate(column: Any, start: object, kind: Any, dialect: sa.Dialect) -> str:
    condition = (column >= sa.literal(start, kind)) | column.is_(None)
    return str(condition.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
