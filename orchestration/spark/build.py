"""A build whose models Spark makes: raw rows go there, dbt runs there, and what the gate reads comes back.

Replacing partitions is not atomic, so a marker says what Spark's tables are: the view ``state.watermark`` there repeats
the home's watermark, says ``building`` while dbt runs, and is gone after a run by hand. Where it differs from that of
the home (a run was killed or failed, the home was restored, another home was here), the next build rebuilds everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from orchestration.home import Home, Notify, silent
from orchestration.spark.pull import READ_TO_FORGET, pull_models
from orchestration.spark.push import RAW_SCHEMAS, push_sources
from orchestration.spark.session import clear_leftovers, open_session, set_view
from orchestration.transform.build import STATE_TABLES, Build, failed_models, run_build
from orchestration.transform.dbt import NodeResult, Project

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MARKER = "state.watermark"


def forget_other_watermark(home: Home) -> None:
    """Takes the home's watermark away when Spark's tables are not what it says; call it before a build begins."""
    spark = open_session()
    found = spark.table(MARKER).collect() if spark.catalog.tableExists(MARKER) else []
    with home.connect() as connection:
        connection.execute(STATE_TABLES)
        if [row.said for row in found] != [_watermark(connection)]:
            connection.execute("delete from state.watermark")


def run_on_spark(project: Project, build: Build, *, notify: Notify = silent) -> list[NodeResult]:
    """As ``run_build``, with the models on Spark; hold the home's lock."""
    spark = open_session()
    for schema in RAW_SCHEMAS:
        spark.sql(f"create schema if not exists {schema}")
    if build.full_refresh:
        clear_leftovers(spark, _made_by_dbt(project))
    _mark(spark, "building")
    push_sources(project.home, spark, whole=build.full_refresh, notify=notify)

    def fetch() -> None:
        notify("bringing candidates back from Spark")
        pull_models(project, spark, whole=build.full_refresh)

    results = run_build(project, build, fetch=fetch, notify=notify)
    with project.home.connect() as connection:
        if not failed_models(connection, project):
            _mark(spark, _watermark(connection))
    return results


def bring_people_back(project: Project) -> None:
    """Brings back what tells who is who, for forgetting to read; hold the home's lock."""
    pull_models(project, open_session(), also=READ_TO_FORGET)


def _watermark(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute("select load_id, as_of, fingerprint from state.watermark").fetchone()
    return " ".join(map(str, row)) if row else ""


def _mark(spark: SparkSession, said: str) -> None:
    set_view(spark, MARKER, f"select '{said}' as said")


def _made_by_dbt(project: Project) -> list[str]:
    """Tables of all models and seeds, and those in which components go round (macros/engine/components.sql)."""
    nodes = [node for node in project.manifest_dict["nodes"].values() if node["resource_type"] in ("model", "seed")]
    schemas = {node["schema"] for node in nodes}
    return [
        *(f"{node['schema']}.{node['alias']}" for node in nodes),
        *(f"{schema}.component_labels_{number}" for schema in sorted(schemas) for number in (0, 1)),
    ]
