"""Published traits on a real cluster: the same rows as in the home, all tables of one build, whatever is killed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.refresh import publish_build, refresh, write_and_audit
from orchestration.published.tables import TABLES
from orchestration.publishing.rollback import rollback
from orchestration.simulator.bundled import SAMPLE
from orchestration.transform.dbt import Project
from tests.builds import take_as_passed
from tests.conftest import as_if_made
from tests.spark.cluster import Cluster
from tests.spark.harness import compare, drive

KILLED = -9
AS_OF = "2024-06-29"
FROM = "timestamp >= '2024-05-20'"
LATE = "user_id = 'user_0182' and timestamp >= '2024-05-21' and timestamp < '2024-05-26'"
# Tables of which every build of the home below differs.
CHANGING = ("trait_values", "user_traits", "builds", "gate_verdicts")
Steps = list[list[Any]]


def application(cluster: Cluster, folder: Path, *steps: list[Any], ends_with: int = 0) -> list[Any]:
    """What the steps of one Spark application return; applications in one folder share a catalog."""
    found: list[Any] = drive(steps, cluster, folder, script="serving.py", ends_with=ends_with)
    return found


def snapshots(home: Path) -> list[str]:
    """Names of the snapshots that a home keeps, oldest first."""
    return [
        path.name for path in sorted((home / "serving" / "builds").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    ]


def differing(home: Path, snapshot: str, exported: Mapping[str, str]) -> dict[str, int]:
    """Tables whose rows on Spark are not those of a snapshot."""
    database = home / "serving" / "builds" / snapshot / "traithouse.duckdb"
    return compare(database, {table: Path(folder) for table, folder in exported.items()})


def written_parts(stored: Mapping[str, list[list[str]]], table: str, version: str) -> set[str]:
    return {part for part, written in stored[table] if written == version}


def moved_traits(home: Path, before: str, after: str) -> set[str]:
    """Traits whose published rows differ between two snapshots."""
    old, new = (f"from '{home}/serving/builds/{name}/trait_values/*.parquet'" for name in (before, after))
    rows = duckdb.sql(f"select trait from (({old} except {new}) union all ({new} except {old})) group by 1").fetchall()
    return {trait for (trait,) in rows}


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The last weeks of the sample, and one event of the first of them, which comes late."""
    folder = tmp_path_factory.mktemp("batches")
    paths = [folder / "first.csv", folder / "late.csv"]
    for path, condition in zip(paths, (f"not ({LATE})", LATE), strict=True):
        duckdb.sql(f"copy (from '{SAMPLE.path}' where {FROM} and {condition}) to '{path}'")
    return paths


@pytest.fixture(scope="module")
def made_on_spark(
    batches: list[Path], spark_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Any]]:
    """A home that loaded and refreshed twice with Spark as its engine, then had a trait withheld; and what was seen."""
    folder = tmp_path_factory.mktemp("spark")
    home = folder / "home"
    mapping = [f"--map={field}={column}" for field, column in SAMPLE.mapping.items()]
    common = [f"--home={home}", "--target=spark", "--json"]
    steps: Steps = [["leave_behind", "events.event_log"], ["leave_behind", "raw.events"]]
    for number, batch in enumerate(batches):
        steps += [
            ["traithouse", "load", str(batch), "--source", SAMPLE.source, *mapping, *common],
            ["traithouse", "refresh", "--as-of", AS_OF, *common],
            ["export", str(folder / f"exported{number}")],
            ["stored"],
        ]
    steps += [
        ["traithouse", "publish", *common],
        ["stored"],
        ["traithouse", "backfill", "--from=2024-06-01", "--to=2024-06-02", *common],
        ["withhold", str(home), "power_user"],
        ["export", str(folder / "exported2")],
        ["is_rebuilt_next", str(home)],
        ["mark_as_building"],
        ["is_rebuilt_next", str(home)],
    ]
    return home, application(spark_cluster, folder, *steps)[2:]


def test_a_refresh_on_spark_publishes_what_one_on_duckdb_does(
    made_on_spark: tuple[Path, list[Any]],
    batches: list[Path],
    home: Home,
    project_in: Callable[[Home], Project],
) -> None:
    home_folder, seen = made_on_spark
    for number, batch in enumerate(batches):
        load(home, [batch], mapping=SAMPLE.mapping, source=SAMPLE.source)
        refresh(project_in(home), as_of=AS_OF)
        _, exit_code, exported, _ = seen[4 * number : 4 * number + 4]
        assert exit_code == 0
        assert differing(home_folder, snapshots(home_folder)[number], exported) == {}
        # What was measured, and when it was decided, is the home's own.
        for table in ("trait_values", "trait_changes", "trait_thresholds"):
            there, here = (
                f"from '{root}/serving/builds/{snapshots(root)[number]}/{table}/*.parquet'"
                for root in (home_folder, home.root)
            )
            rows = duckdb.sql(f"select count(*) from (({here} except {there}) union all ({there} except {here}))")
            assert rows.fetchall() == [(0,)], table
            assert duckdb.sql(f"select count(*) > 0 {here}").fetchall() == [(True,)]


def test_only_what_changed_is_written(made_on_spark: tuple[Path, list[Any]]) -> None:
    home, seen = made_on_spark
    first, second, again = seen[3], seen[7], seen[9]
    (version,) = second["served"][0]
    before, after = snapshots(home)[:2]
    traits = {part for part, _ in first["trait_values"]}
    moved = moved_traits(home, before, after)
    assert written_parts(second, "trait_values", version) == moved
    assert moved and moved < traits
    # Publishing the same build again writes nothing.
    assert seen[8] == 0
    assert again == second


def test_what_would_replay_the_past_says_that_it_cannot(made_on_spark: tuple[Path, list[Any]]) -> None:
    assert made_on_spark[1][10] == 2


def test_a_withheld_trait_keeps_its_last_good_values(made_on_spark: tuple[Path, list[Any]]) -> None:
    home, seen = made_on_spark
    withheld, exported = seen[11:13]
    good, last = snapshots(home)[1:3]
    assert withheld == ["power_user"]
    assert differing(home, last, exported) == {}
    values = f"select * from '{exported['traits.trait_values']}/*.parquet' where trait = 'power_user'"
    kept = f"select * from '{home}/serving/builds/{good}/trait_values/*.parquet' where trait = 'power_user'"
    assert duckdb.sql(f"select count(*) from ({values})").fetchone()[0] > 0  # type: ignore[index]
    assert len(moved_traits(home, good, last)) > 1
    columns = "entity_id, value, score, evidence, reason, definition_version, build_id"
    assert duckdb.sql(f"select {columns} from ({values}) except select {columns} from ({kept})").fetchall() == []


def test_an_increment_follows_only_a_build_that_ended(made_on_spark: tuple[Path, list[Any]]) -> None:
    home, seen = made_on_spark
    assert (seen[13], seen[15]) == (False, True)
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        builds = connection.execute("select build_number, full_refresh from state.current_build").fetchall()
    assert builds == [(2, False)]


@pytest.fixture
def home_of_builds(published_home: Path, tmp_path: Path, project_in: Callable[[Home], Project]) -> Path:
    """A home with five builds: the sample, other scores of one trait, and a rollback."""
    home_folder = tmp_path / "home"
    shutil.copytree(published_home, home_folder, symlinks=True)
    home = Home(Settings(home=home_folder, builds_kept=50))
    project = project_in(home)
    for number in range(3):
        write_and_audit(project, select=["power_user"])
        as_if_made(home, project, f"update candidates.power_user set score = {number / 10}")
        take_as_passed(project, ["power_user"])
        publish_build(project)
    rollback(home, project.catalog, to=None, who="a person", why="a test")
    assert len(snapshots(home_folder)) == 5
    return home_folder


def test_readers_find_one_build_whatever_is_killed(
    home_of_builds: Path, spark_cluster: Cluster, tmp_path: Path
) -> None:
    home, folder = home_of_builds, tmp_path / "spark"
    first, *between, before, last = snapshots(home)
    seen = application(
        spark_cluster,
        folder,
        ["serve_snapshot", str(home), first],
        ["read_while_serving", str(home), [*between, before]],
        ["stored"],
        ["serve_and_die", str(home), last, "Spark: trait_values"],
        ends_with=KILLED,
    )
    builds = [row for row in seen[1] if len(set(row)) != 1 or len(row) != 4]
    assert builds == [], "a query has seen two builds"
    assert len({row[0] for row in seen[1]}) > 2
    assert seen[1] == sorted(seen[1])
    kept = seen[2]
    # Two snapshots were kept beside the one that was served first.
    assert len(kept["manifests"]) == 3
    # In the middle of a table, after another one was written; and before the pointer moves.
    for number, (when, seconds) in enumerate([("Spark: builds", 0.3), ("Spark: serving", 0)]):
        exported, stored, *_ = application(
            spark_cluster,
            folder,
            ["export", str(folder / f"exported{number}"), *CHANGING],
            ["stored"],
            ["serve_and_die", str(home), last, when, seconds],
            ends_with=KILLED,
        )
        assert differing(home, before, exported) == {}
        assert stored["served"] == kept["served"]
    exported, version, again, after, stored = application(
        spark_cluster,
        folder,
        ["export", str(folder / "old")],
        ["serve", str(home)],
        ["export", str(folder / "new")],
        ["serve", str(home)],
        ["stored"],
    )
    assert differing(home, before, exported) == {}
    assert differing(home, last, again) == {}
    assert after == version
    assert stored["served"] == [[version]]
    # Of what was cut off nothing is left, neither known nor on disk.
    named = {tuple(key) for key in stored["named"] if key[0] != "views"}
    assert {(table, *key) for table in TABLES for key in stored[table]} == named
    store = folder / "warehouse" / "traits_store.db"
    on_disk = {path.relative_to(store).parts for path in store.rglob("written=*")}
    assert on_disk == {(table, f"part={part}", f"written={written}") for table, part, written in named}
    assert not [path for path in store.rglob("*") if path.name.startswith((".spark-staging", "_temporary"))]
