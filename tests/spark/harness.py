"""The project on Spark, and its tables beside those that DuckDB made."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from tests.spark.cluster import QUICK_JAVA, Cluster, guarded

DRIVER_SECONDS = 1800


@dataclass(frozen=True)
class Run:
    """One dbt build.

    Attributes:
        variables: the run arguments (as_of, build_id; when incremental also loaded_after, previous_as_of).
        full_refresh: everything is rebuilt.
        loaded_until: newest load that has arrived before it.

    """

    variables: dict[str, Any]
    full_refresh: bool
    loaded_until: int


@dataclass(frozen=True)
class Made:
    """What the builds made.

    Attributes:
        tables: ``schema.table`` to the folder of Parquet files of its rows after the last build.
        seconds: node to seconds, one mapping a build.

    """

    tables: dict[str, Path]
    seconds: list[dict[str, float]]


def export_raw(warehouse: Path, folder: Path) -> dict[str, Path]:
    """Parquet of the tables that the models read: the raw ones, learned scores, and a prior state without rows."""
    folder.mkdir(parents=True, exist_ok=True)
    queries = {
        "raw.events": "from raw.events",
        "raw.loads": "from raw.loads",
        "state.trait_state": "from state.trait_state where false",
        "state.trait_thresholds": "from state.trait_thresholds where false",
        "learning.score_models": "from learning.score_models",
        "learning.score_points": "from learning.score_points",
        "learning.score_probabilities": "from learning.score_probabilities",
    }
    written = {table: folder / f"{table}.parquet" for table in queries}
    with duckdb.connect(str(warehouse)) as connection:
        for table, query in queries.items():
            connection.execute(f"copy ({query}) to '{written[table]}' (format parquet)")
    return written


def run_on_spark(
    project_dir: Path,
    raw_parquet: Mapping[str, Path],
    runs: Sequence[Run],
    *,
    cluster: Cluster,
    folder: Path,
    tables: Sequence[str] | None = None,
) -> Made:
    """Builds the project on a cluster, from empty, once a run; the raw rows of a run's loads arrive just before it.

    ``tables`` (``schema.table``) are exported; without it every model that is a table.

    Raises:
        AssertionError: a seed or model failed, with what Spark said.

    """
    folder.mkdir(parents=True, exist_ok=True)
    job = {
        "project_dir": str(project_dir),
        "profiles_dir": str(project_dir),
        "folder": str(folder),
        "raw_parquet": {table: str(path) for table, path in raw_parquet.items()},
        "runs": [asdict(run) for run in runs],
        "export": str(folder / "exported"),
        "tables": tables,
    }
    result: dict[str, Any] = drive(job, cluster, folder)
    for number, step in enumerate(result["steps"], start=1):
        bad = [
            f"{name}: {status}: {message}" for name, status, message, _ in step if status not in ("success", "no-op")
        ]
        assert not bad, f"Build {number} on Spark:\n" + "\n".join(bad)
    return Made(
        tables={table: Path(path) for table, path in result["tables"].items()},
        seconds=[{name: seconds for name, _, _, seconds in step} for step in result["steps"]],
    )


def drive(job: object, cluster: Cluster, folder: Path, *, script: str = "driver.py", ends_with: int = 0) -> Any:
    """Runs a job in a process of its own (see ``driver.py`` and ``serving.py``) and gives its result."""
    folder.mkdir(parents=True, exist_ok=True)
    job_file, log = folder / "job.json", folder / "driver.log"
    job_file.write_text(json.dumps(job, default=str))
    configuration = spark_configuration(cluster, folder)
    command = [sys.executable, str(Path(__file__).with_name(script)), str(job_file)]
    with guarded(command, log, cwd=folder, SPARK_CONF_DIR=str(configuration)) as process:
        try:
            status = process.wait(timeout=DRIVER_SECONDS)
        except subprocess.TimeoutExpired:
            status = -1
    if status != ends_with:
        raise AssertionError(f"The Spark driver ended with {status}:\n{log.read_text()[-4000:]}")
    return json.loads((folder / "result.json").read_text())


def spark_configuration(cluster: Cluster, folder: Path) -> Path:
    """A folder for SPARK_CONF_DIR: the cluster, with a catalog and a warehouse of this application's own."""
    java = f"-Duser.timezone=UTC {QUICK_JAVA}"
    settings = {
        "spark.master": cluster.master,
        "spark.driver.memory": "1g",
        "spark.executor.memory": "1g",
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": folder / "warehouse",
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={folder}/metastore;create=true",
        "spark.driver.extraJavaOptions": f"{java} -Dderby.system.home={folder}",
        "spark.executor.extraJavaOptions": java,
        "spark.sql.shuffle.partitions": 4,
        "spark.sql.session.timeZone": "UTC",
        # Half of the time of a table with a partition a day went into sizes that no test reads.
        "spark.sql.hive.gatherFastStats": "false",
        "spark.sql.adaptive.enabled": "true",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    path = folder / "conf"
    path.mkdir(exist_ok=True)
    (path / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    return path


def compare(warehouse: Path, made: Mapping[str, Path]) -> dict[str, int]:
    """Tables whose rows differ between the DuckDB file and what ``run_on_spark`` made; rows that only one side has.

    Fast hashes are each engine's own and are left out.
    """
    differing = {}
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        for table, folder in made.items():
            schema, name = table.split(".")
            columns = connection.execute(
                "select column_name, data_type from duckdb_columns() where schema_name = $1 and table_name = $2",
                [schema, name],
            ).fetchall()
            theirs = {row[0] for row in connection.execute(f"describe from '{folder}/*.parquet'").fetchall()}
            assert {column for column, _ in columns} == theirs, f"{table} has other columns on Spark"
            columns = [(column, kind) for column, kind in columns if column != "id_hash"]
            # By name, for Spark puts the partition column last.
            cells = ", ".join(f"cast({column} as {kind}) as {column}" for column, kind in columns)
            here, there = f"select {cells} from {table}", f"select {cells} from '{folder}/*.parquet'"
            found = connection.execute(
                f"select count(*) from (({here} except all {there}) union all ({there} except all {here}))"
            ).fetchone()
            if found != (0,):
                differing[table] = found[0] if found else -1
    return differing
