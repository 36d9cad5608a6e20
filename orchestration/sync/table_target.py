"""A published table in another database: made, described and changed in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import mysql

STATE_TABLE = "traithouse_copies"
BATCH = 1000
# Type of the snapshot -> type there. MySQL and MariaDB keep whole seconds unless asked, and no long text as a key.
_TYPES: Mapping[str, sa.types.TypeEngine[Any]] = {
    "BOOLEAN": sa.Boolean(),
    "DOUBLE": sa.Double(),
    "BIGINT": sa.BigInteger(),
    "TIMESTAMP": sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb"),
    "VARCHAR": sa.Text(),
}
_ID = sa.Text().with_variant(mysql.VARCHAR(512, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


class CopiedColumn(NamedTuple):
    """A column: its name, its type in the snapshot, and what it says."""

    name: str
    type: str
    text: str


class LastCopy(NamedTuple):
    """What was last written of a table: the build, and the newest row of the ledger."""

    build_id: str
    seq: int


class TargetTable:
    """One table. Its first column is its key."""

    def __init__(
        self, connection: sa.Connection, schema: str, name: str, text: str, columns: Sequence[CopiedColumn]
    ) -> None:
        self._connection = connection
        metadata = sa.MetaData(schema=schema or None)
        self._table = sa.Table(
            name,
            metadata,
            *(
                sa.Column(
                    column.name,
                    _ID if not number and column.type == "VARCHAR" else _TYPES[column.type],
                    primary_key=not number,
                    autoincrement=False,
                    comment=column.text,
                )
                for number, column in enumerate(columns)
            ),
            comment=text,
        )
        self._key = self._table.c[columns[0].name]
        self._state = sa.Table(
            STATE_TABLE,
            metadata,
            sa.Column("table_name", _ID, primary_key=True, comment="Table that was written."),
            sa.Column("build_id", sa.Text(), comment="Build that it holds."),
            sa.Column("seq", sa.BigInteger(), comment="Newest change of that build."),
            sa.Column("row_count", sa.BigInteger(), comment="Rows that it holds."),
            sa.Column("written_at", _TYPES["TIMESTAMP"], comment="When it was written; UTC."),
            comment="What Traithouse wrote last into each table here. Grain: one row a table.",
        )

    def prepare(self) -> None:
        """Makes the tables, the columns that are missing, and the comments that differ; a column is never dropped."""
        self._state.create(self._connection, checkfirst=True)
        inspector = sa.inspect(self._connection)
        if not inspector.has_table(self._table.name, schema=self._table.schema):
            self._table.create(self._connection)
            return
        there = {column["name"]: column for column in inspector.get_columns(self._table.name, self._table.schema)}
        change = Operations(MigrationContext.configure(self._connection))
        for column in self._table.columns:
            if column.name not in there:
                new = sa.Column(column.name, column.type, comment=column.comment)
                change.add_column(self._table.name, new, schema=self._table.schema)
            elif self._comments and there[column.name].get("comment") != column.comment:
                change.alter_column(
                    self._table.name,
                    column.name,
                    comment=column.comment,
                    existing_type=column.type,
                    existing_nullable=not column.primary_key,
                    schema=self._table.schema,
                )
        for name in there.keys() - {column.name for column in self._table.columns}:
            # A trait that is no longer declared says nothing any more.
            gone = sa.table(self._table.name, sa.column(name), schema=self._table.schema)
            self._connection.execute(gone.update().where(gone.c[name].is_not(None)).values({name: None}))

    def written(self) -> LastCopy | None:
        """What was last written; null before the first time."""
        row = self._connection.execute(
            sa.select(self._state.c.build_id, self._state.c.seq).where(self._state.c.table_name == self._table.name)
        ).one_or_none()
        return LastCopy(row.build_id, int(row.seq)) if row else None

    def count(self) -> int:
        """Rows that the table holds."""
        return int(self._connection.execute(sa.select(sa.func.count()).select_from(self._table)).scalar_one())

    def rows(self) -> Iterator[list[tuple[Any, ...]]]:
        """All rows, in batches."""
        result = self._connection.execute(sa.select(*self._table.columns), execution_options={"yield_per": 50 * BATCH})
        for partition in result.partitions():
            yield [tuple(row) for row in partition]

    def replace(self, rows: Iterable[tuple[Any, ...]]) -> int:
        """Writes rows in place of those with their keys, and counts them."""
        written = 0
        for batch in _batches(rows):
            self.delete(row[0] for row in batch)
            self._connection.execute(
                self._table.insert(), [dict(zip(self._table.c.keys(), row, strict=True)) for row in batch]
            )
            written += len(batch)
        return written

    def delete(self, keys: Iterable[Any]) -> int:
        """Deletes rows, and counts those that were there."""
        return sum(
            self._connection.execute(self._table.delete().where(self._key.in_(batch))).rowcount
            for batch in _batches(keys)
        )

    def note(self, build_id: str, seq: int, row_count: int, written_at: Any) -> None:
        """Notes what the table holds now."""
        self._connection.execute(self._state.delete().where(self._state.c.table_name == self._table.name))
        self._connection.execute(
            self._state.insert().values(
                table_name=self._table.name, build_id=build_id, seq=seq, row_count=row_count, written_at=written_at
            )
        )

    @property
    def _comments(self) -> bool:
        return self._connection.dialect.supports_comments


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch
