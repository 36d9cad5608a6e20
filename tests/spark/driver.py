"""One Spark application: loads raw batches, runs dbt after each, exports what the models made.

A process of its own, for the session of dbt-spark lives as long as its process. Argument: the path of a job (JSON, see
``harness.py``); the result is written beside it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from cluster import die_with_parent

SCHEMAS_OF_SOURCES = ("raw", "state", "learning")


def main(job_file: Path) -> None:
    job = json.loads(job_file.read_text())
    steps = []
    from pyspark.sql import SparkSession

    dbt = Dbt(job)
    # dbt-spark takes the session that it finds.
    spark = SparkSession.builder.enableHiveSupport().getOrCreate()
    for schema in SCHEMAS_OF_SOURCES:
        spark.sql(f"create schema if not exists {schema}")
    loaded_until = -1
    for step in job["runs"]:
        for table, path in job["raw_parquet"].items():
            append(spark, table, path, loaded_until, step["loaded_until"])
        loaded_until = step["loaded_until"]
        steps.append(dbt.build(step["variables"], full_refresh=step["full_refresh"]))
        if any(status not in ("success", "no-op", "pass", "warn") for _, status, _, _ in steps[-1]):
            break
    tables = export(spark, job["tables"] or dbt.relations(), Path(job["export"]))
    (job_file.parent / "result.json").write_text(json.dumps({"steps": steps, "tables": tables}))


def append(spark: Any, table: str, path: str, after: int, until: int) -> None:
    """Adds the rows of the loads after ``after`` up to ``until``; a table without load_id comes once, whole."""
    frame = spark.read.parquet(path)
    # DuckDB writes timestamps without a zone, Spark reads them as another type.
    kinds = {name: "timestamp" if kind == "timestamp_ntz" else kind for name, kind in frame.dtypes}
    frame = frame.selectExpr(*(f"cast(`{name}` as {kind}) as `{name}`" for name, kind in kinds.items()))
    if "load_id" in kinds:
        frame = frame.where(f"load_id > {after} and load_id <= {until}")
    elif after >= 0:
        return
    frame.write.mode("append").format("parquet").saveAsTable(table)


def export(spark: Any, relations: list[str], folder: Path) -> dict[str, str]:
    """Writes each table as Parquet, timestamps in microseconds."""
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    written = {}
    for relation in relations:
        if spark.catalog.tableExists(relation):
            written[relation] = str(folder / relation)
            spark.table(relation).write.mode("overwrite").parquet(written[relation])
    return written


class Dbt:
    """dbt in this process, parsed once."""

    def __init__(self, job: dict[str, Any]) -> None:
        from dbt.cli.main import dbtRunner

        self.runner = dbtRunner
        self.manifest: Any = None
        project = ["--project-dir", job["project_dir"], "--profiles-dir", job["profiles_dir"], "--target", "spark"]
        paths = ["--target-path", job["folder"] + "/target", "--log-path", job["folder"] + "/logs"]
        quiet = [
            "--log-level",
            "none",
            "--log-level-file",
            "info",
            "--no-use-colors",
            "--no-send-anonymous-usage-stats",
        ]
        self.flags = [*project, *paths, *quiet]

    def invoke(self, *arguments: str) -> Any:
        result = self.runner(manifest=self.manifest).invoke([*arguments, *self.flags])
        if result.result is None:
            raise SystemExit(f"dbt {arguments[0]} could not run: {result.exception}")
        return result.result

    def build(self, variables: dict[str, Any], *, full_refresh: bool) -> list[tuple[str, str, str, float]]:
        """Name, status, message and seconds of each seed and model."""
        self.manifest = self.manifest or self.invoke("parse")
        arguments = ["build", "--resource-type", "seed", "--resource-type", "model", "--vars", json.dumps(variables)]
        results = self.invoke(*arguments, *(["--full-refresh"] if full_refresh else []))
        return [
            (result.node.name, str(result.status), str(result.message), round(result.execution_time, 2))
            for result in results
            if result.node.resource_type != "operation"
        ]

    def relations(self) -> list[str]:
        """``schema.name`` of every model that is a table."""
        models = [node for node in self.manifest.nodes.values() if node.resource_type == "model"]
        return [
            f"{model.schema}.{model.alias}" for model in models if model.config.materialized in ("table", "incremental")
        ]


if __name__ == "__main__":
    die_with_parent()
    main(Path(sys.argv[1]))
    # The session's own goodbye takes seconds; the group is ended by who started it.
    os._exit(0)
