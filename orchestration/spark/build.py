"""A build whose models Spark makes: raw rows go there, dbt runs there, and what the gates read comes back.

Replacing partitions is not atomic, so a marker says which build Spark's tables are of: the view ``state.watermark``
there repeats the home's watermark, is ``building`` while dbt runs, and is dropped by a manual run. Where it differs
from the home's watermark (a run was killed or failed, the home was restored, another home used this Spark), the next
build rebuilds everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from orchestration.home import Home, Notify, silent
from orchestration.spark.pull import READ_TO_FORGET, pull_models
from orchestration.spark.push import RAW_SCHEMAS, push_sources
from orchestration.spark.session import clear_leftovers, open_session, set_view
from orchestration.transform.build import Build, run_build
from orchestration.transform.dbt import Project
from orchestration.transform.node_results import failed_models
from orchestration.transform.runner import NodeResult
from orchestration.transform.state_tables import STATE_TABLES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MARKER = "state.watermark"


def drop_other_watermark(home: Home) -> None:
    """Deletes the home's watermark when Spark's tables are of another build; call it before a build begins."""
    spark = open_session()
    found = spark.table(MARKER).collect() if spark.catalog.tableExists(MARKER) else []
    with home.connect() as connection:
        connection.execute(STATE_TABLES)
        if [row.asDict().get("watermark") for row in found] != [_watermark(connection)]:
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


def pull_identities(project: Project) -> None:
    """Brings back the tables of identity that forgetting reads; hold the home's lock."""
    pull_models(project, open_session(), also=READ_TO_FORGET)


def _watermark(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute("select load_id, as_of, fingerprint from state.watermark").fetchone()
    return " ".join(map(str, row)) if row else ""


def _mark(spark: SparkSession, watermark: str) -> None:
    set_view(spark, MARKER, f"select '{watermark}' as watermark")


def _made_by_dbt(project: Project) -> list[str]:
    """Tables of all models and seeds, and the working tables of macros/engine/components.sql."""
    nodes = [node for node in project.manifest_dict["nodes"].values() if node["resource_type"] in ("model", "seed")]
    schemas = {node["schema"] for node in nodes}
    return [
        *(f"{node['schema']}.{node['alias']}" for node in nodes),
        *(f"{schema}.component_labels_{number}" for schema in sorted(schemas) for number in (0, 1)),
    ]
