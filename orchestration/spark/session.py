"""The Spark session that dbt uses, too, and what moving rows between home and Spark needs: tables, Parquet files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.errors import UsageError
from orchestration.home import Home

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def open_session() -> SparkSession:
    """The session that SPARK_CONF_DIR describes; a session that this process has already is used again.

    Raises:
        UsageError: Spark is not installed.

    """
    if not (find_spec("pyspark") and find_spec("dbt.adapters.spark")):
        raise UsageError(
            "The engine spark needs pyspark and dbt-spark, which are not installed.",
            "Install traithouse with its extra spark, or use --target duckdb.",
        )
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.enableHiveSupport().getOrCreate()
    for name, value in {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.sources.partitionOverwriteMode": "dynamic",
        # Spark's default is a form of timestamps that DuckDB reads as another type.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    }.items():
        spark.conf.set(name, value)
    return spark


@contextmanager
def exchange(home: Home) -> Iterator[Path]:
    """An empty folder of the home for Parquet files between home and Spark; it is deleted when the block ends.

    Driver and executors have to see the home at the same path.
    """
    folder = home.root / "exchange"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def read_parquet(spark: SparkSession, path: Path) -> DataFrame:
    """Rows of a file or folder that DuckDB wrote; its timestamps without a zone become Spark's ``timestamp`` (UTC)."""
    frame = spark.read.parquet(path.as_uri())
    kinds = [(name, "timestamp" if kind == "timestamp_ntz" else kind) for name, kind in frame.dtypes]
    return frame.selectExpr(*(f"cast(`{name}` as {kind}) as `{name}`" for name, kind in kinds))


def replace_partitions(spark: SparkSession, table: str, frame: DataFrame, partitioned_by: Sequence[str] = ()) -> None:
    """Overwrites the partitions (without any: the table) that a frame has rows of; adds missing columns and tables."""
    inner = [f"`{name}` {kind}" for name, kind in frame.dtypes if name not in partitioned_by]
    keys = [f"`{name}` {kind}" for name, kind in frame.dtypes if name in partitioned_by]
    by = f"partitioned by ({', '.join(keys)})" if keys else ""
    spark.sql(f"create table if not exists {table} ({', '.join(inner)}) using parquet {by}")
    columns = spark.table(table).columns
    lacking = [f"`{name}` {kind}" for name, kind in frame.dtypes if name not in columns]
    if lacking:
        spark.sql(f"alter table {table} add columns ({', '.join(lacking)})")
    frame.select(*spark.table(table).columns).write.mode("overwrite").insertInto(table)


def drop_partitions(spark: SparkSession, table: str, specs: Iterable[Mapping[str, object]]) -> None:
    """Drops partitions with their files; a spec that names only some of the columns drops all that match."""
    listed = [", ".join(f"{name} = '{value}'" for name, value in spec.items()) for spec in specs]
    for start in range(0, len(listed), 200):
        some = ", ".join(f"partition ({spec})" for spec in listed[start : start + 200])
        spark.sql(f"alter table {table} drop if exists {some}")


def set_view(spark: SparkSession, view: str, query: str) -> None:
    """Makes a view, or changes its query in one call of the metastore, so that readers always find the view."""
    if spark.catalog.tableExists(view):
        spark.sql(f"alter view {view} as {query}")
    else:
        spark.sql(f"create view {view} as {query}")


def clear_leftovers(spark: SparkSession, tables: Iterable[str]) -> None:
    """Deletes what a killed process left: folders of tables that the metastore does not know, and unfinished files.

    Spark refuses to make a table where a folder of its name exists.
    """
    for table in tables:
        schema, name = table.split(".")
        if not spark.catalog.databaseExists(schema):
            continue
        folder = spark._jvm.org.apache.hadoop.fs.Path(spark.catalog.getDatabase(schema).locationUri, name)
        files = folder.getFileSystem(spark._jsc.hadoopConfiguration())
        if not files.exists(folder):
            continue
        if not spark.catalog.tableExists(table):
            files.delete(folder, True)
            continue
        for inner in files.listStatus(folder):
            if inner.getPath().getName().startswith((".spark-staging-", "_temporary")):
                files.delete(inner.getPath(), True)
