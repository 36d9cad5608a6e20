"""Spark makes the rows that DuckDB makes: from the whole sample, and from random streams that arrive in increments."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from orchestration.home import House, Settings
from orchestration.landing.load import load
from orchestration.learning.learn import learn
from orchestration.simulator.bundled import SAMPLE
from orchestration.transform.build import Build
from orchestration.transform.dbt import DbtProject
from tests.conftest import queried
from tests.spark.cluster import Cluster
from tests.spark.harness import Run, compare, export_raw, run_on_spark
from tests.streams.examples import example_streams
from tests.streams.generator import CLOCKS, random_stream
from tests.streams.harness import STAGES, VIEWS, build, load_batch

STREAMS = 40
# Batches that arrive before each build; every build costs minutes on two cores.
STEPS = [[0], [1, 2], [3]]


def differing(house: House, project: DbtProject, builds: list[Build], cluster: Cluster, folder: Path) -> dict[str, int]:
    """Tables whose rows differ after the same builds on Spark; no prior trait state on either side."""
    with house.connect() as connection:
        stored = connection.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()
    names = {name for (name,) in stored if name.split(".")[0] in (*STAGES, "candidates")}
    tables = sorted({name for name in names if not name.endswith("_catalog")} | VIEWS)
    runs = [Run(made.variables, made.full_refresh, made.loaded_until) for made in builds]
    raw = export_raw(house.warehouse, folder / "raw")
    made = run_on_spark(project.folder, raw, runs, cluster=cluster, folder=folder, tables=tables)
    assert sorted(made.tables) == sorted(tables)
    return compare(house.warehouse, made.tables)


def with_scores(house: House, project: DbtProject) -> None:
    """What is learned from the sample, in force whether it holds or not: here only the scoring matters."""
    learn(house, project)
    with house.connect() as connection:
        connection.execute("update learning.score_models set usable = true where base_rate is not null")


def test_the_sample(
    house: House, of_house: Callable[[House], DbtProject], spark_cluster: Cluster, tmp_path: Path
) -> None:
    load(house, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
    project = of_house(house)
    build(house, project)
    with_scores(house, project)
    builds = [build(house, project, full_refresh=True)]
    scored = queried(house, "select count(*) from candidates.likely_to_churn where score is not null")
    assert scored[0][0] > 100
    assert differing(house, project, builds, spark_cluster, tmp_path / "spark") == {}


def test_random_streams_in_increments(
    of_house: Callable[[House], DbtProject], spark_cluster: Cluster, tmp_path: Path
) -> None:
    house = House(Settings(home=tmp_path / "home"))
    house.prepare()
    project = of_house(house)
    random = Random(7)
    streams = example_streams() | {
        prefix: random_stream(random, prefix) for prefix in map("s{:04d}-".format, range(STREAMS))
    }
    builds = []
    for arrived in STEPS:
        load_batch(house, [event for batches in streams.values() for number in arrived for event in batches[number]])
        builds.append(build(house, project, as_of=CLOCKS[arrived[-1]].isoformat()))
    assert [made.full_refresh for made in builds] == [True, False, False]
    assert differing(house, project, builds, spark_cluster, tmp_path / "spark") == {}
