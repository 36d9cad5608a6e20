"""A table in Postgres: a row for each user or account, a transaction for each batch.

Rows are written by ``INSERT ... ON CONFLICT (identifier) DO UPDATE``, so the identifier's column needs a unique index.
The columns ``build_id`` (of the snapshot) and ``synced_at`` (of the transaction) say where a row comes from. With
``create`` the table is created in a schema that exists, and columns are added as fields come: text, double precision or
boolean; a column is never changed or dropped. Without ``create`` the table is used as it is. Rows are sent as JSON, and
Postgres reads each value as its column's type: what does not fit (2.5 into an integer) is refused where a cast would
round.

Limits: none of a vendor; 1,000 rows a transaction, one connection. A run waits ten seconds for a lock, and a minute for
a statement. Authentication: the connection string is in the variable that ``options.dsn_env`` names. The connection to
another machine is encrypted (``sslmode=require``) unless the string or PGSSLMODE says otherwise;
``sslmode=verify-full`` checks its certificate, too.

==========================================  ========================================================================
answer (SQLSTATE)                           what is done
==========================================  ========================================================================
22, 23, 44, P0 (values, constraints, ...)   the batch is rolled back and halved until the bad row stands alone, refused
40, 53, 55, 57 (deadlock, lock, limit, ..)  rolled back, tried again
08, no answer, the connection broke         connected again and tried again: whether it was committed does not matter
25, XX (a standby, an internal error)       tried again
28, 3D, 3F, 42, 0A (key, name, type, ...)   nothing more is sent: no table or column of this name, no right, no index
==========================================  ========================================================================

Clear writes the cleared values (null where none is declared) and creates no row; delete removes the row. Names of
columns: ASCII letters, digits and underscores, at most 63.

Sources: PostgreSQL 17 documentation (INSERT, "PostgreSQL Error Codes", libpq "Connection Control Functions"), psycopg 3
documentation. Verified against a real server.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, LiteralString, NamedTuple

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import Field

from orchestration.declarations.syncs import Sync
from orchestration.destinations import (
    ClosedError,
    Destination,
    ObjectKind,
    Options,
    Outcomes,
    Record,
    RefusedError,
    UnavailableError,
)
from orchestration.destinations._pace import Pace
from orchestration.errors import UsageError

_COLUMN = r"(?!(build_id|synced_at)$)[A-Za-z_][A-Za-z0-9_]{0,62}"
_TYPES = {bool: "boolean", int: "double precision", float: "double precision", str: "text"}
# Classes of SQLSTATE after which a person has to act.
_CLOSED = frozenset({"28", "3D", "3F", "42", "0A"})
# Words of a server, or of the client library, when it will never give a connection.
_DENIED = (
    "authentication failed",
    "no password supplied",
    "pg_hba.conf",
    "does not exist",
    "certificate verify failed",
)
_SQL: Mapping[str, LiteralString] = {
    "upsert": """
        insert into {table} ({columns}, {identifier}, synced_at) select {columns}, {identifier}, now() from {given}
        on conflict ({identifier}) do update set {excluded}, synced_at = now()
    """,
    "clear": """
        update {table} as kept set {values}, synced_at = now() from {given}
        where kept.{identifier} = given.{identifier}
    """,
    "delete": "delete from {table} where {identifier} in (select {identifier} from {given})",
}


class PostgresOptions(Options):
    """Which table.

    Attributes:
        table: ``schema.table``.
        dsn_env: name of the environment variable that holds the connection string.
        create: whether the table, and columns that it lacks, are created.

    """

    tuning: ClassVar[frozenset[str]] = frozenset({"create"})
    table: str = Field(pattern=r"^[^.\"\s]+\.[^.\"\s]+$")
    dsn_env: str = "POSTGRES_DSN"
    create: bool = False


class _Shape(NamedTuple):
    """What rows of the same statement have in common."""

    action: str
    columns: tuple[str, ...]


class _StatementRows(NamedTuple):
    """A statement, and the rows that are its parameter."""

    statement: sql.Composed
    rows: list[dict[str, Any]]


class PostgresDestination(Destination):
    """Acknowledged once the transaction is committed."""

    remote: ClassVar[bool] = True
    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "users": ObjectKind("user", "user_id", field_pattern=_COLUMN, deletes=True),
        "accounts": ObjectKind("account", "account_id", field_pattern=_COLUMN, deletes=True),
    }
    batch_size: ClassVar[int] = 1000
    options_type: ClassVar[type[PostgresOptions]] = PostgresOptions
    connect_seconds: ClassVar[int] = 10
    lock_seconds: ClassVar[float] = 10.0
    statement_seconds: ClassVar[float] = 60.0

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        super().__init__(sync, outbox, pace)
        self._table = sql.Identifier(*self.options.table.split("."))
        self._connection: psycopg.Connection | None = None
        # Columns of the table; empty where none are to be created.
        self._columns: set[str] = set()

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Writes a batch in one transaction."""
        try:
            connection = self._connected()
            if self.options.create:
                self._create_missing(connection, records)
            with connection.transaction():
                self._limit_waiting(connection)
                for batch in self._statements(records):
                    connection.execute(batch.statement, (json.dumps(batch.rows),))
        except psycopg.Error as error:
            raise self._meaning(error) from None
        return [None] * len(records)

    def read(self, records: Sequence[Record]) -> dict[str, dict[str, Any]]:
        """Rows of the table."""
        statement = sql.SQL("select row_to_json(t) from {} as t where {}::text = any($1)").format(
            self._table, sql.Identifier(self.identifier_field)
        )
        try:
            connection = self._connected()
            with connection.transaction():
                self._limit_waiting(connection)
                rows = connection.execute(statement, ([record.identifier for record in records],)).fetchall()
        except psycopg.Error as error:
            raise self._meaning(error) from None
        return {str(row[self.identifier_field]): row for (row,) in rows}

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """Statements with their rows, which are the only parameter of each."""
        return [
            {"statement": " ".join(batch.statement.as_string().split()), "rows": batch.rows}
            for batch in self._statements(records)
        ]

    def close(self) -> None:
        """Closes the connection."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def _connected(self) -> psycopg.Connection:
        if self._connection and not self._connection.closed:
            return self._connection
        self._columns = set()
        given = self._connection_string()
        denied = ""
        try:
            # Prepared statements do not work behind a pooler that gives out connections by transaction.
            self._connection = psycopg.connect(
                given, autocommit=True, prepare_threshold=None, cursor_factory=psycopg.RawCursor
            )
        except psycopg.OperationalError as error:
            denied = next((reason for reason in _DENIED if reason in str(error)), "unreachable")
        if denied == "unreachable":
            raise UnavailableError(f"no answer from the Postgres of {self.options.dsn_env}")
        if denied or not self._connection:
            raise ClosedError(f"the Postgres of {self.options.dsn_env} refuses the connection: {denied}")
        return self._connection

    def _connection_string(self) -> str:
        dsn = self.secret(self.options.dsn_env)
        known: dict[str, Any] = {}
        with suppress(psycopg.ProgrammingError):
            known = dict(conninfo_to_dict(dsn))
        # Raised outside the except block, so that the library's error, which quotes the string, is not its context.
        if not known:
            raise UsageError(
                f"{self.sync.where}: {self.options.dsn_env} is no connection string.",
                "Write it as host=... port=... user=... password=... dbname=..., or as postgresql://...",
            )
        if known.get("password"):
            self._secrets.add(known["password"])
        wanted: dict[str, Any] = {"application_name": "traithouse", "connect_timeout": self.connect_seconds}
        hosts = known.get("hostaddr") or known.get("host") or os.environ.get("PGHOST") or ""
        if "PGSSLMODE" not in os.environ and not all(_is_local(host) for host in hosts.split(",")):
            wanted["sslmode"] = "require"
        return make_conninfo(**(wanted | known))

    def _limit_waiting(self, connection: psycopg.Connection) -> None:
        for name, seconds in (("lock_timeout", self.lock_seconds), ("statement_timeout", self.statement_seconds)):
            connection.execute("select set_config($1, $2, true)", (name, f"{round(seconds * 1000)}ms"))

    def _create_missing(self, connection: psycopg.Connection, records: Sequence[Record]) -> None:
        """Creates the table and the columns that have values, in a transaction that stays if the batch fails."""
        wanted = {
            name: _TYPES[type(value)]
            for record in records
            for name, value in record.fields.items()
            if value is not None
        }
        if self._columns and wanted.keys() <= self._columns:
            return
        with connection.transaction():
            self._limit_waiting(connection)
            if not self._columns_there(connection):
                connection.execute(
                    sql.SQL("create table {} ({} text primary key, build_id text, synced_at timestamptz)").format(
                        self._table, sql.Identifier(self.identifier_field)
                    )
                )
            for name in sorted(wanted.keys() - self._columns_there(connection)):
                connection.execute(
                    sql.SQL("alter table {} add column {} {}").format(
                        self._table, sql.Identifier(name), sql.SQL(wanted[name])
                    )
                )
        self._columns = self._columns_there(connection)

    def _columns_there(self, connection: psycopg.Connection) -> set[str]:
        there = "select attname from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped"
        with connection.transaction():
            rows = connection.execute(there, (self._table.as_string(),)).fetchall()
        return {name for (name,) in rows}

    def _statements(self, records: Sequence[Record]) -> list[_StatementRows]:
        """A statement with its rows for all records with the same action and columns."""
        groups: dict[_Shape, list[dict[str, Any]]] = defaultdict(list)
        for record in records:
            # A column that is not there yet has never held a value.
            there = {
                name: _exact(value)
                for name, value in record.fields.items()
                if record.action != "delete" and (value is not None or not self._columns or name in self._columns)
            }
            row = there | {self.identifier_field: record.identifier, "build_id": record.build_id}
            groups[_Shape(record.action, tuple(there))].append(row)
        return [_StatementRows(self._statement(shape), rows) for shape, rows in groups.items()]

    def _statement(self, shape: _Shape) -> sql.Composed:
        """SQL with rows as JSON, which Postgres itself reads as rows of the table: each value as its column's type."""
        written = [sql.Identifier(name) for name in (*shape.columns, "build_id")]
        sources = [sql.SQL("{} = given.{}").format(name, name) for name in written]
        return sql.SQL(_SQL[shape.action]).format(
            table=self._table,
            identifier=sql.Identifier(self.identifier_field),
            columns=sql.SQL(", ").join(written),
            values=sql.SQL(", ").join(sources),
            excluded=sql.SQL(", ").join(sql.SQL("{} = excluded.{}").format(name, name) for name in written),
            given=sql.SQL("json_populate_recordset(null::{}, $1) as given").format(self._table),
        )

    def _meaning(self, error: psycopg.Error) -> Exception:
        """What an error means for the batch, as an exception to raise."""
        text = error.diag.message_primary or type(error).__name__
        if isinstance(error, psycopg.DataError) and not error.sqlstate:
            # The library itself refuses a value that no text of Postgres can hold.
            text = str(error)
        message = self.mask(f"answered {error.sqlstate}: {text}" if error.sqlstate else text)
        if (error.sqlstate or "")[:2] in _CLOSED:
            return ClosedError(message)
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError):
            return UnavailableError(message)
        return RefusedError(message)


def _exact(value: Any) -> Any:
    """A number without a fraction as an integer, for a column that holds integers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_local(host: str) -> bool:
    return not host or host.startswith(("/", "@")) or host in ("localhost", "127.0.0.1", "::1")
