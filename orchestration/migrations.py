"""What makes a home of an earlier version one of this version. ``Home.prepare`` calls it under the lock.

Every step may be the last of a killed process: the warehouse changes in one transaction, a file or folder is renamed in
one step, and each step is left out when it was done before.

Version 2 added tombstones, and made files readable by their owner only. Version 3 renamed acceptances to waivers,
``told`` to ``publishable``, people to contacts, and the simulator's folder. What is history stays as it was written:
names of checks in stored verdicts and waivers, and the snapshots that are served or retained.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

# What version 3 renamed in the warehouse: old table, new table, old column -> new column.
_TABLES = (
    ("traits", "acceptances", "waivers", {"accepted_by": "waived_by", "accepted_at": "waived_at"}),
    ("state", "backfilled_days", "backfilled_days", {"told": "publishable"}),
)
_FILES = {"people.parquet": "contacts.parquet", "people.json": "contacts.json", "sandbox": "simulation"}


def migrate(root: Path, version: int) -> None:
    """Changes a home from an earlier version to this one.

    Args:
        root: the home folder.
        version: that its home.json names: 1 or 2.

    Raises:
        duckdb.IOException: another program has the warehouse open.

    """
    if version < 2:
        _for_owner_only(root)
    _rename_in_warehouse(root / "warehouse.duckdb")
    for old, new in _FILES.items():
        if (root / old).exists() and not (root / new).exists():
            (root / old).rename(root / new)


def _rename_in_warehouse(warehouse: Path) -> None:
    if not warehouse.exists():
        return
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("begin")
        for schema, old, new, columns in _TABLES:
            for old_column, new_column in columns.items():
                if _is_there(connection, schema, old, old_column):
                    connection.execute(f"alter table {schema}.{old} rename {old_column} to {new_column}")
            if old != new and _is_there(connection, schema, old):
                connection.execute(f"alter table {schema}.{old} rename to {new}")
        if _is_there(connection, "traits", "trait_changes"):
            connection.execute("update traits.trait_changes set cause = 'waived' where cause = 'accepted'")
        connection.execute("commit")


def _is_there(connection: duckdb.DuckDBPyConnection, schema: str, table: str, column: str | None = None) -> bool:
    """Whether a table has a column, or is there at all; a view is no table."""
    found = connection.execute(
        """
        select 1 from duckdb_columns() as c
        inner join duckdb_tables() as t on c.schema_name = t.schema_name and c.table_name = t.table_name
        where t.schema_name = $schema and t.table_name = $table and c.column_name = coalesce($column, c.column_name)
        """,
        {"schema": schema, "table": table, "column": column},
    )
    return found.fetchone() is not None


def _for_owner_only(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
