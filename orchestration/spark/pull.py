"""Brings back into the home what gates, publishing and admin read of the models; the rest stays on Spark.

Spark never changes a file of a table, so a partition whose files have the same names as last time is not brought again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from orchestration.admin.erasure import ErasureScope
from orchestration.spark.session import exchange
from orchestration.transform.dbt import Project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A test compares these lists with the statements of the rooms that read models: admin reads both lists, the others the
# first.
READ_AT_HOME = (
    "events.catalog_rules",
    "events.event_kinds",
    "events.event_log",
    "events.own_deliveries",
    "events.plan_catalog",
    "events.quarantined_events",
    "events.replaced_events",
    "events.unmapped_events",
    "identity.attributes",
    "identity.dim_accounts",
    "identity.dim_users",
    "identity.identity_links",
    "identity.identity_merges",
    "identity.identity_nodes",
    "identity.memberships",
    "sessions.fct_sessions",
    "activity.fct_account_activity_daily",
    "activity.fct_user_activity_daily",
    "features.user_features",
    "features.account_features",
    "features.observed_behaviours",
)
READ_TO_FORGET = ("identity.identity_observations",)

# Grain: table x partition (`column=value`, empty for a table without partitions). files: a hash of the files' names.
PULLED_PARTS = "create table if not exists state.pulled_parts (table_name varchar, part varchar, files varchar)"

_TYPES = {"string": "varchar", "int": "integer"}
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class _Change:
    """How a table differs from what the home has.

    Attributes:
        table: schema and name.
        columns: name to type in DuckDB.
        files: partition to a hash of its files' names.
        parts: partitions that changed; null when the whole table is brought.
        gone: partitions that Spark has no more.

    """

    table: str
    columns: dict[str, str]
    files: dict[str, str]
    parts: list[str] | None
    gone: list[str]


def pull_models(project: Project, spark: SparkSession, *, also: Sequence[str] = (), whole: bool = False) -> None:
    """Brings changed partitions back in one transaction, and drops what an engine in the home made before.

    Args:
        project: whose traits; hold the lock of its home.
        spark: the session.
        also: tables besides ``READ_AT_HOME`` and the candidates.
        whole: bring everything, because another engine may have made what the home has.

    """
    traits = [name for trait in project.catalog.traits for name in (trait.name, trait.thresholds_model) if name]
    names = (*READ_AT_HOME, *also, *(f"candidates.{name}" for name in traits))
    wanted = [name for name in names if spark.catalog.tableExists(name)]
    with exchange(project.home) as folder, project.home.connect() as connection:
        connection.execute(PULLED_PARTS)
        if whole:
            connection.execute("delete from state.pulled_parts")
        changes = [change for name in wanted if (change := _change(connection, spark, name))]
        # For a small table most of the time is spent waiting for Spark.
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda change: _write(spark, change, folder), changes))
        connection.execute("begin")
        _drop_others(connection, ErasureScope.of(project).derived, wanted)
        for change in changes:
            _replace(connection, change, folder)
        connection.execute("commit")


def _change(connection: duckdb.DuckDBPyConnection, spark: SparkSession, table: str) -> _Change | None:
    frame = spark.table(table)
    if spark.catalog.getTable(table).tableType == "VIEW":
        # Its rows change with the clock, too.
        return _Change(table, {name: _TYPES.get(kind, kind) for name, kind in frame.dtypes}, {}, parts=None, gone=[])
    is_partitioned = any(column.isPartition for column in spark.catalog.listColumns(table))
    files = _files_of_parts(frame.inputFiles(), is_partitioned)
    columns = {name: _TYPES.get(kind, kind) for name, kind in frame.dtypes}
    known = dict(
        connection.execute("select part, files from state.pulled_parts where table_name = $1", [table]).fetchall()
    )
    stored = connection.execute(
        "select column_name from duckdb_columns() where schema_name || '.' || table_name = $1", [table]
    ).fetchall()
    if not known or {name for (name,) in stored} != set(columns):
        return _Change(table, columns, files, parts=None, gone=[])
    if known == files:
        return None
    # A value that is escaped in its path cannot be compared with the column.
    if not is_partitioned or any("%" in part for part in (*files, *known)):
        return _Change(table, columns, files, parts=None, gone=[])
    changed = [part for part, name in files.items() if known.get(part) != name]
    gone = [part for part in known if part not in files]
    return _Change(table, columns, files, parts=changed, gone=gone)


def _files_of_parts(paths: Sequence[str], is_partitioned: bool) -> dict[str, str]:
    names: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        folder, _, name = path.rpartition("/")
        names[folder.rpartition("/")[2] if is_partitioned else ""].append(name)
    return {part: hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()[:16] for part, files in names.items()}


def _write(spark: SparkSession, change: _Change, folder: Path) -> None:
    frame = spark.table(change.table)
    if change.parts is not None:
        frame = frame.where(_is_among(change.parts, "string"))
    frame.write.parquet((folder / change.table).as_uri())


def _is_among(parts: list[str], text: str) -> str:
    """SQL condition of the rows of some partitions of one column; a path has the values as they are cast to text."""
    if not parts:
        return "false"
    column = parts[0].partition("=")[0]
    values = [part.partition("=")[2] for part in parts]
    listed = ", ".join(f"'{value}'" for value in values)
    return f"coalesce(cast({column} as {text}), '{_NO_VALUE}') in ({listed})"


def _replace(connection: duckdb.DuckDBPyConnection, change: _Change, folder: Path) -> None:
    if change.parts is None:
        connection.execute(f"create schema if not exists {change.table.split('.')[0]}")
        columns = ", ".join(f"{name} {kind}" for name, kind in change.columns.items())
        connection.execute(f"create or replace table {change.table} ({columns})")
    else:
        connection.execute(f"delete from {change.table} where {_is_among([*change.parts, *change.gone], 'varchar')}")
    if any((folder / change.table).glob("*.parquet")):
        # Timestamps of Spark have a time zone, which is UTC.
        cells = ", ".join(f"cast({name} as {kind}) as {name}" for name, kind in change.columns.items())
        path = str(folder / change.table / "*.parquet").replace("'", "''")
        connection.execute(f"insert into {change.table} by name select {cells} from '{path}'")
    connection.execute("delete from state.pulled_parts where table_name = $1", [change.table])
    connection.execute(
        "insert into state.pulled_parts (table_name, part, files) select $table, unnest($parts), unnest($files)",
        {"table": change.table, "parts": list(change.files), "files": list(change.files.values())},
    )


def _drop_others(connection: duckdb.DuckDBPyConnection, derived: frozenset[str], wanted: list[str]) -> None:
    """Drops tables of models in the home that Spark did not make, for they are of another engine or another build."""
    found = connection.execute(
        """
        select schema_name, table_name, 'table' from duckdb_tables() union all
        select schema_name, view_name, 'view' from duckdb_views() where not internal
        """
    ).fetchall()
    for schema, name, kind in found:
        if schema in derived and f"{schema}.{name}" not in wanted:
            connection.execute(f'drop {kind} "{schema}"."{name}"')
            connection.execute("delete from state.pulled_parts where table_name = $1", [f"{schema}.{name}"])
