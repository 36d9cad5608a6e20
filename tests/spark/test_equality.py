"""Spark makes the rows that DuckDB makes: from the whole sample, and from random streams that arrive in increments."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from orchestration.landing.load import load
from orchestration.project import PROJECT_ROOT, House, Settings
from orchestration.sample import SAMPLE
from orchestration.warehouse.build import Build
from orchestration.warehouse.dbt import DbtProject
from tests.spark.cluster import Cluster
from tests.spark.harness import Run, compare, export_raw, run_on_spark
from tests.streams.examples import example_streams
from tests.streams.generator import CLOCKS, random_stream
from tests.streams.harness import OF_THE_RUN, build, compared_tables, load_batch

STREAMS = 40


def differing(house: House, project: DbtProject, builds: list[Build], cluster: Cluster, folder: Path) -> dict[str, int]:
    """Tables whose rows differ after the same builds on Spark; no prior trait state on either side."""
    with house.connect() as connection:
        traits = [f"candidates.{trait.name}" for trait in project.catalog.traits]
        tables = sorted(set(compared_tables(connection)) | OF_THE_RUN) + traits
    runs = [Run(made.variables, made.full_refresh, made.loaded_until) for made in builds]
    raw = export_raw(house.warehouse, folder / "raw")
    made = run_on_spark(PROJECT_ROOT, raw, runs, cluster=cluster, folder=folder, tables=tables)
    assert sorted(made.tables) == sorted(tables)
    return compare(house.warehouse, made.tables)


def test_the_sample(
    house: House, of_house: Callable[[House], DbtProject], spark_cluster: Cluster, tmp_path: Path
) -> None:
    load(house, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
    project = of_house(house)
    builds = [build(house, project)]
    assert differing(house, project, builds, spark_cluster, tmp_path / "spark") == {}


def test_random_streams_in_increments(
    of_house: Callable[[House], DbtProject], spark_cluster: Cluster, tmp_path: Path
) -> None:
    house = House(Settings(home=tmp_path / "home"))
    project = of_house(house)
    random = Random(7)
    streams = example_streams() | {
        prefix: random_stream(random, prefix) for prefix in map("s{:04d}-".format, range(STREAMS))
    }
    builds = []
    for number, clock in enumerate(CLOCKS):
        load_batch(house, [event for batches in streams.values() for event in batches[number]])
        builds.append(build(house, project, as_of=clock.isoformat()))
    assert [made.full_refresh for made in builds] == [True] + [False] * (len(CLOCKS) - 1)
    assert differing(house, project, builds, spark_cluster, tmp_path / "spark") == {}
