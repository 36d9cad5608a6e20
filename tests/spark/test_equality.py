"""Spark makes the rows that DuckDB makes: from the whole sample, and from random streams that arrive in increments."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.learning.learn import learn
from orchestration.simulator.bundled import SAMPLE
from orchestration.transform.build import Build
from orchestration.transform.dbt import Project
from tests.conftest import queried
from tests.spark.cluster import Cluster
from tests.spark.harness import Run, compare, export_raw, run_on_spark
from tests.streams.examples import example_streams
from tests.streams.generator import CLOCKS, random_stream
from tests.streams.harness import STAGES, VIEWS, build, load_batch

STREAMS = 40
# Batches that arrive before each build; every build costs minutes on two cores.
STEPS = [[0], [1, 2], [3]]


def differing(home: Home, project: Project, builds: list[Build], cluster: Cluster, folder: Path) -> dict[str, int]:
    """Tables whose rows differ after the same builds on Spark; no prior trait state on either side."""
    with home.connect() as connection:
        stored = connection.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()
    names = {name for (name,) in stored if name.split(".")[0] in (*STAGES, "candidates")}
    tables = sorted({name for name in names if not name.endswith("_catalog")} | VIEWS)
    runs = [Run(made.variables, made.full_refresh, made.loaded_until) for made in builds]
    raw = export_raw(home.warehouse, folder / "raw")
    made = run_on_spark(project.folder, raw, runs, cluster=cluster, folder=folder, tables=tables)
    assert sorted(made.tables) == sorted(tables)
    return compare(home.warehouse, made.tables)


def with_scores(home: Home, project: Project) -> None:
    """What is learned from the sample, in force whether it holds or not: here only the scoring matters."""
    learn(project)
    with home.connect() as connection:
        connection.execute("update learning.score_models set usable = true where base_rate is not null")


def test_the_sample(home: Home, project_in: Callable[[Home], Project], spark_cluster: Cluster, tmp_path: Path) -> None:
    load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
    project = project_in(home)
    build(home, project)
    with_scores(home, project)
    builds = [build(home, project, full_refresh=True)]
    scored = queried(home, "select count(*) from candidates.likely_to_churn where score is not null")
    assert scored[0][0] > 100
    assert differing(home, project, builds, spark_cluster, tmp_path / "spark") == {}


def test_random_streams_in_increments(
    project_in: Callable[[Home], Project], spark_cluster: Cluster, tmp_path: Path
) -> None:
    home = Home(Settings(home=tmp_path / "home"))
    home.prepare()
    project = project_in(home)
    random = Random(7)
    streams = example_streams() | {
        prefix: random_stream(random, prefix) for prefix in map("s{:04d}-".format, range(STREAMS))
    }
    builds = []
    for arrived in STEPS:
        load_batch(home, [event for batches in streams.values() for number in arrived for event in batches[number]])
        builds.append(build(home, project, as_of=CLOCKS[arrived[-1]].isoformat()))
    assert [made.full_refresh for made in builds] == [True, False, False]
    assert differing(home, project, builds, spark_cluster, tmp_path / "spark") == {}
