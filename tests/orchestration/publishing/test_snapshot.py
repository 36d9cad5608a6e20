"""The snapshot: tables and Parquet are the same, builds share what stays, and a crash leaves the last one readable."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import duckdb
import pytest

from orchestration.home import Home, Settings, read_json
from orchestration.publishing.publish import publish
from orchestration.publishing.snapshot import served_manifest, write_snapshot
from orchestration.transform.dbt import Project
from tests.builds import FLIP, next_build
from tests.children import in_child, kill_at_call
from tests.conftest import queried
from tests.faults.fixture import contradictions
from tests.faults.kill import stepwise


def served_folder(home: Home) -> Path:
    return (home.serving / "current").resolve()


def test_parquet_that_has_not_changed_is_shared_between_builds(sample_home: Home, sample_project: Project) -> None:
    before = served_folder(sample_home)
    next_build(sample_project, FLIP)
    publish(sample_project)
    after = served_folder(sample_home)
    parts = served_manifest(sample_home)["parquet_files"]
    shared = {path for path in parts if (before / path).exists() and (after / path).samefile(before / path)}
    assert any(path.startswith("sync_failures/") for path in shared)
    assert {path.split("/")[0] for path in parts.keys() - shared} >= {"trait_values", "trait_changes", "builds"}
    assert all((after / path).stat().st_nlink == 1 for path in parts.keys() - shared)


def test_a_trait_that_did_not_change_is_not_written(sample_home: Home) -> None:
    before = served_folder(sample_home)
    with sample_home.lock("test"), sample_home.connect() as connection:
        connection.execute("update traits.trait_values set score = 0.5 where trait = 'at_risk'")
        write_snapshot(sample_home, connection, str(served_manifest(sample_home)["build_id"]))
    after = served_folder(sample_home)
    assert after != before
    new = {path.name.split("-")[0] for path in (after / "trait_values").iterdir() if path.stat().st_nlink == 1}
    assert new == {"at_risk"}
    sizes = [(path.stat().st_nlink, path.stat().st_size) for path in after.rglob("*") if path.is_file()]
    manifest = served_manifest(sample_home)
    manifest_size = (after / "manifest.json").stat().st_size
    assert manifest["bytes_shared"] == sum(size for links, size in sizes if links > 1) > 0
    assert manifest["bytes_written"] == sum(size for links, size in sizes if links == 1) - manifest_size
    assert manifest["seconds"] > 0


def test_parquet_holds_the_rows_of_each_table(sample_home: Home) -> None:
    folder = served_folder(sample_home)
    rows = read_json(folder / "manifest.json")["rows"]
    with duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True) as connection:
        for table, count in rows.items():
            parquet = f"'{folder}/{table}/*.parquet'"
            assert connection.execute(f"select count(*) from {parquet}").fetchone() == (count,)
            different = f"(from traits.{table} except all from {parquet}) union all"
            different += f"(from {parquet} except all from traits.{table})"
            assert connection.execute(different).fetchall() == []
    assert rows["user_traits"] == 600


def test_a_snapshot_of_single_files_is_followed_by_one_of_parts(sample_home: Home) -> None:
    """As an earlier version wrote it: a file a table, and a manifest that tells of no parts."""
    folder = served_folder(sample_home)
    for table in read_json(folder / "manifest.json")["rows"]:
        shutil.rmtree(folder / table)
        (folder / f"{table}.parquet").write_bytes(b"PAR1")
    manifest = folder / "manifest.json"
    manifest.write_text('{"build_id": "000001-20240630T000000Z", "rows": {}}')
    with sample_home.lock("test"), sample_home.connect() as connection:
        write_snapshot(sample_home, connection, "000001-20240630T000000Z")
    assert contradictions(sample_home) == []


@pytest.mark.parametrize("share", [step / 10 for step in range(1, 10)])
def test_a_crash_leaves_a_whole_snapshot(
    published_home: Path, tmp_path: Path, sample_project: Project, share: float
) -> None:
    """Killed so far through its statements and changes of files; the next one goes on from there."""

    def writing(home: Home) -> None:
        with home.lock("test"), home.connect() as connection:
            write_snapshot(home, connection, "000001-20240630T000000Z")

    def copied(name: str) -> Home:
        shutil.copytree(published_home, tmp_path / name, symlinks=True)
        made = Home(Settings(home=tmp_path / name))
        queried(made, "update traits.trait_values set score = 0.5 where trait in ('at_risk', 'health')")
        return made

    told = tmp_path / "steps"
    steps: list[str] = []

    def count(home: Home) -> None:
        stepwise(home, sample_project, lambda home, *_: writing(home), steps.append)
        told.write_text(str(len(steps)))

    whole = copied("whole")
    assert in_child(lambda: count(whole)) == 0
    number = round(share * int(told.read_text()))
    home = copied("killed")
    status = in_child(lambda: stepwise(home, sample_project, lambda home, *_: writing(home), kill_at_call(number)))
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert contradictions(home) == []
    writing(home)
    assert contradictions(home) == []
    assert served_manifest(home)["parquet_files"] == served_manifest(whole)["parquet_files"]
    assert not list((home.serving / "builds").glob(".draft-*"))
