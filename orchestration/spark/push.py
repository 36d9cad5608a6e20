"""Sends to Spark what the models read: raw rows by load, and the small tables of state and learning as a whole.

A load is a partition. It is compared by its number of rows: a load that is missing on Spark, was sent in part, or has
lost rows in the home since, is replaced. A rebuild replaces all loads, because forgetting also changes texts in rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from orchestration.home import Home, Notify, silent
from orchestration.spark.session import (
    clear_leftovers,
    drop_partitions,
    exchange,
    read_parquet,
    replace_partitions,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RAW_SCHEMAS = ("raw", "state", "learning")
WHOLE = (
    "raw.loads",
    "state.trait_state",
    "state.trait_thresholds",
    "learning.score_models",
    "learning.score_points",
    "learning.score_probabilities",
)


def push_sources(home: Home, spark: SparkSession, *, whole: bool, notify: Notify = silent) -> None:
    """Makes Spark's copies equal to the home's tables.

    Args:
        home: where; hold its lock.
        spark: the session.
        whole: replace every load.
        notify: progress.

    """
    with home.connect() as connection:
        for table in _tables_of_loads(connection):
            _push_loads(home, connection, spark, table, whole=whole, notify=notify)
        with exchange(home) as folder:
            for table in WHOLE:
                file = folder / f"{table}.parquet"
                connection.execute(f"copy (from {table}) to '{_escaped(str(file))}' (format parquet)")
                clear_leftovers(spark, [table])
                replace_partitions(spark, table, read_parquet(spark, file))


def _tables_of_loads(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """``raw.events``, and each vendor's tables as they landed."""
    vendors = connection.execute(
        "select schema_name || '.' || table_name from duckdb_tables() where starts_with(schema_name, 'raw_') order by 1"
    ).fetchall()
    return ["raw.events", *(name for (name,) in vendors)]


def _push_loads(
    home: Home, connection: duckdb.DuckDBPyConnection, spark: SparkSession, table: str, *, whole: bool, notify: Notify
) -> None:
    spark.sql(f"create schema if not exists {table.split('.')[0]}")
    clear_leftovers(spark, [table])
    here = dict(connection.execute(f"select load_id, count(*) from {table} group by load_id").fetchall())
    there: dict[int, int] = {}
    if spark.catalog.tableExists(table):
        there = {
            row.load_id: row.rows
            for row in spark.sql(f"select load_id, count(*) as rows from {table} group by 1").collect()
        }
    stale = sorted(load for load, rows in here.items() if whole or there.get(load) != rows)
    drop_partitions(spark, table, [{"load_id": load} for load in there if load not in here])
    if stale:
        notify(f"{table}: {sum(here[load] for load in stale)} rows to Spark")
        with exchange(home) as folder:
            file = folder / "loads.parquet"
            connection.execute(
                f"copy (from {table} where list_contains($loads, load_id)) to '{_escaped(str(file))}' (format parquet)",
                {"loads": stale},
            )
            replace_partitions(spark, table, read_parquet(spark, file), ["load_id"])


def _escaped(text: str) -> str:
    return text.replace("'", "''")
