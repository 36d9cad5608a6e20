"""The snapshot: tables and Parquet are the same, builds share what stays, and a crash leaves the last one readable."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import duckdb
import pytest

from orchestration.home import House, Settings, read_json
from orchestration.pipeline.refresh import refresh
from orchestration.publishing.snapshot import served_manifest, write_snapshot
from orchestration.transform.dbt import DbtProject
from tests.children import in_child, killing_at
from tests.conftest import queried
from tests.faults.fixture import contradictions
from tests.faults.kill import stepwise


def served_folder(house: House) -> Path:
    return (house.serving / "current").resolve()


def test_parquet_that_has_not_changed_is_shared_between_builds(sample_house: House, sample_project: DbtProject) -> None:
    before = served_folder(sample_house)
    refresh(sample_house, sample_project, as_of="2024-07-01")
    after = served_folder(sample_house)
    parts = served_manifest(sample_house)["parts"]
    shared = {path for path in parts if (before / path).exists() and (after / path).samefile(before / path)}
    assert any(path.startswith("sync_failures/") for path in shared)
    assert {path.split("/")[0] for path in parts.keys() - shared} >= {"trait_values", "trait_changes", "builds"}
    assert all((after / path).stat().st_nlink == 1 for path in parts.keys() - shared)


def test_a_trait_that_did_not_change_is_not_written(sample_house: House) -> None:
    before = served_folder(sample_house)
    with sample_house.lock("test"), sample_house.connect() as connection:
        connection.execute("update traits.trait_values set score = 0.5 where trait = 'at_risk'")
        write_snapshot(sample_house, connection, str(served_manifest(sample_house)["build_id"]))
    after = served_folder(sample_house)
    assert after != before
    new = {path.name.split("-")[0] for path in (after / "trait_values").iterdir() if path.stat().st_nlink == 1}
    assert new == {"at_risk"}
    sizes = [(path.stat().st_nlink, path.stat().st_size) for path in after.rglob("*") if path.is_file()]
    manifest = served_manifest(sample_house)
    manifest_size = (after / "manifest.json").stat().st_size
    assert manifest["bytes_shared"] == sum(size for links, size in sizes if links > 1) > 0
    assert manifest["bytes_written"] == sum(size for links, size in sizes if links == 1) - manifest_size
    assert manifest["seconds"] > 0


def test_parquet_holds_the_rows_of_each_table(sample_house: House) -> None:
    folder = served_folder(sample_house)
    rows = read_json(folder / "manifest.json")["rows"]
    with duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True) as connection:
        for table, count in rows.items():
            parquet = f"'{folder}/{table}/*.parquet'"
            assert connection.execute(f"select count(*) from {parquet}").fetchone() == (count,)
            different = f"(from traits.{table} except all from {parquet}) union all"
            different += f"(from {parquet} except all from traits.{table})"
            assert connection.execute(different).fetchall() == []
    assert rows["user_traits"] == 600


def test_a_snapshot_of_single_files_is_followed_by_one_of_parts(sample_house: House) -> None:
    """As an earlier version wrote it: a file a table, and a manifest that tells of no parts."""
    folder = served_folder(sample_house)
    for table in read_json(folder / "manifest.json")["rows"]:
        shutil.rmtree(folder / table)
        (folder / f"{table}.parquet").write_bytes(b"PAR1")
    manifest = folder / "manifest.json"
    manifest.write_text('{"build_id": "000001-20240630T000000Z", "rows": {}}')
    with sample_house.lock("test"), sample_house.connect() as connection:
        write_snapshot(sample_house, connection, "000001-20240630T000000Z")
    assert contradictions(sample_house) == []


@pytest.mark.parametrize("share", [step / 10 for step in range(1, 10)])
def test_a_crash_leaves_a_whole_snapshot(
    published_home: Path, tmp_path: Path, sample_project: DbtProject, share: float
) -> None:
    """Killed so far through its statements and changes of files; the next one goes on from there."""

    def writing(house: House) -> None:
        with house.lock("test"), house.connect() as connection:
            write_snapshot(house, connection, "000001-20240630T000000Z")

    def home(name: str) -> House:
        shutil.copytree(published_home, tmp_path / name, symlinks=True)
        made = House(Settings(home=tmp_path / name))
        queried(made, "update traits.trait_values set score = 0.5 where trait in ('at_risk', 'health')")
        return made

    told = tmp_path / "steps"
    steps: list[str] = []

    def count(house: House) -> None:
        stepwise(house, sample_project, lambda house, *_: writing(house), steps.append)
        told.write_text(str(len(steps)))

    whole = home("whole")
    assert in_child(lambda: count(whole)) == 0
    number = round(share * int(told.read_text()))
    house = home("killed")
    status = in_child(lambda: stepwise(house, sample_project, lambda house, *_: writing(house), killing_at(number)))
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert contradictions(house) == []
    writing(house)
    assert contradictions(house) == []
    assert served_manifest(house)["parts"] == served_manifest(whole)["parts"]
    assert not list((house.serving / "builds").glob(".draft-*"))
