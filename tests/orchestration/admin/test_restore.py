"""Restore: a restored home goes on as if nothing had been; a restore is finished or has not begun."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.admin.backup import backup
from orchestration.admin.checksums import write_checksums
from orchestration.admin.erasure import forget_people
from orchestration.admin.restore import restore
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.refresh import refresh
from orchestration.publishing.snapshot import served_build
from orchestration.sync.engine import run_sync
from orchestration.sync.ledger import SyncLedger
from orchestration.transform.dbt import Project
from tests.children import in_child
from tests.conftest import NOW, queried, served
from tests.orchestration.admin.conftest import story, write_ndjson
from tests.orchestration.admin.search import PAT, places
from tests.orchestration.admin.test_rights import open_to_others
from tests.streams.harness import differing, frozen

PUBLISHED = "select * exclude (build_id) from traits.trait_values order by all"


@pytest.fixture
def empty(tmp_path: Path) -> Home:
    """Another home, that nobody has used."""
    return Home(Settings(home=tmp_path / "other"))


def go_on(home: Home, project: Project, folder: Path) -> None:
    """What happens after: new events, a refresh."""
    load(home, [write_ndjson(folder / "later.ndjson", story(with_pat=True))], source="story", now=NOW)
    refresh(project, now=NOW)


@pytest.mark.long
def test_a_restored_home_goes_on_like_one_that_never_was_away(
    sample_home: Home,
    sample_project: Project,
    empty: Home,
    tmp_path: Path,
    project_in: Callable[[Home], Project],
) -> None:
    run_sync(sample_home, sample_project.catalog, sample_project.catalog.sync("outbox"))
    made = backup(sample_project, tmp_path / "elsewhere")
    restored = restore(project_in(empty), Path(made.folder))
    assert restored.replaced is None
    assert served_build(empty) == served_build(sample_home) == made.build_id
    with SyncLedger(sample_home) as first, SyncLedger(empty) as second:
        assert second.sent("outbox") == first.sent("outbox") != {}
    assert open_to_others(empty.root) == open_to_others(tmp_path / "elsewhere") == []

    go_on(sample_home, sample_project, tmp_path)
    go_on(empty, project_in(empty), tmp_path)
    frozen(sample_home)
    assert differing(empty, sample_home) == {}
    assert served(empty, PUBLISHED) == served(sample_home, PUBLISHED)
    assert queried(empty, "from traits.trait_changes order by seq") == queried(
        sample_home, "from traits.trait_changes order by seq"
    )


@pytest.mark.long
def test_a_home_that_holds_something_is_replaced_only_by_force_and_kept(
    sample_home: Home, sample_project: Project
) -> None:
    made = backup(sample_project)
    assert Path(made.folder).parent == sample_home.root / "backups"
    with sample_home.connect() as connection:
        connection.execute("delete from traits.trait_values")
    with pytest.raises(UsageError, match="holds a warehouse"):
        restore(sample_project, Path(made.folder))
    restored = restore(sample_project, Path(Path(made.folder).name), force=True)
    assert queried(sample_home, "select count(*) from traits.trait_values") == [(5400,)]
    replaced = Home(Settings(home=Path(str(restored.replaced))))
    assert queried(replaced, "select count(*) from traits.trait_values") == [(0,)]
    assert served(sample_home, "select count(*) from traits.trait_values") == [(5400,)]
    assert refresh(sample_project, now=NOW)[1].published is False


def test_a_broken_warehouse_can_be_replaced(sample_home: Home, sample_project: Project) -> None:
    made = backup(sample_project)
    sample_home.warehouse.write_bytes(b"not a database")
    sample_home.warehouse.with_name("warehouse.duckdb.wal").write_bytes(b"of another file")
    restore(sample_project, Path(made.folder), force=True)
    assert queried(sample_home, "select count(*) from traits.trait_values") == [(5400,)]


@pytest.mark.long
def test_who_was_forgotten_since_stays_forgotten(traced_home: Home, traced_project: Project, tmp_path: Path) -> None:
    outside = backup(traced_project, tmp_path / "elsewhere")
    inside = backup(traced_project)
    assert any(place.startswith("backups") for place in places(traced_home.root))
    forget_people(traced_project, [PAT])
    run_sync(traced_home, traced_project.catalog, traced_project.catalog.sync("outbox"))
    shutil.rmtree(traced_home.outbox)
    assert places(traced_home.root) == set()

    restored = restore(traced_project, Path(outside.folder), force=True)
    assert restored.forgotten == 3
    assert places(traced_home.root) == set()
    # The backup in the home was rewritten, and is whole.
    assert restore(traced_project, Path(inside.folder), force=True).forgotten == 0


def test_a_backup_that_was_changed_is_refused(sample_home: Home, sample_project: Project, empty: Home) -> None:
    elsewhere = sample_project.replace(empty)
    made = Path(backup(sample_project).folder)
    with (made / "warehouse.duckdb").open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"changed")
    with pytest.raises(UsageError, match=r"warehouse\.duckdb differs"):
        restore(elsewhere, made)
    with pytest.raises(UsageError, match="is no backup"):
        restore(elsewhere, sample_home.root)
    assert not empty.warehouse.exists()


@pytest.mark.parametrize("step", [3, *(pytest.param(n, marks=pytest.mark.long) for n in range(7) if n != 3)])
def test_a_restore_that_was_killed_is_finished_by_the_next_and_nothing_runs_between(
    sample_home: Home, sample_project: Project, step: int
) -> None:
    run_sync(sample_home, sample_project.catalog, sample_project.catalog.sync("outbox"))
    made = Path(backup(sample_project).folder)
    with sample_home.connect() as connection:
        connection.execute("delete from traits.trait_values")
    steps = 0

    def die(message: str) -> None:
        nonlocal steps
        steps += 1
        if steps == step + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    status = in_child(lambda: restore(sample_project, made, force=True, notify=die))
    if step == 6:
        assert status == 0, "there are more steps"
        return
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert served(sample_home, "select count(*) from traits.trait_values") == [(5400,)]
    if (sample_home.root / "restore.json").exists():
        with pytest.raises(TraithouseError, match="restore of this home was cut off"):
            refresh(sample_project)
    else:
        assert queried(sample_home, "select count(*) from traits.trait_values") == [(0,)]
    restored = restore(sample_project, made, force=True)
    assert queried(sample_home, "select count(*) from traits.trait_values") == [(5400,)]
    replaced = Home(Settings(home=Path(str(restored.replaced))))
    assert queried(replaced, "select count(*) from traits.trait_values") == [(0,)]
    assert list(sample_home.root.glob(".restore*")) == []
    assert refresh(sample_project, now=NOW)[1].published is False


def test_a_link_in_a_backup_is_refused_before_anything_is_written(
    sample_home: Home, sample_project: Project, empty: Home, tmp_path: Path
) -> None:
    made = Path(backup(sample_project).folder)
    other = tmp_path / "other.duckdb"
    (made / "warehouse.duckdb").replace(other)
    (made / "warehouse.duckdb").symlink_to(other)
    write_checksums(made)
    before = other.read_bytes()
    with pytest.raises(UsageError, match=r"holds a link: warehouse\.duckdb points to"):
        restore(sample_project.replace(empty), made)
    assert other.read_bytes() == before
    assert not empty.warehouse.exists()
    assert list(empty.root.glob(".restore*")) == []


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "holds no warehouse": lambda folder: (folder / "warehouse.duckdb").unlink(),
    "has version 99": lambda folder: (folder / "home.json").write_text('{"version": 99}'),
    "is a folder": lambda folder: ((folder / "warehouse.duckdb").unlink(), (folder / "warehouse.duckdb").mkdir()),
    "are free in": lambda folder: os.truncate(folder / "status.json", 1 << 43),
}


@pytest.mark.parametrize("words", UNUSABLE)
def test_a_backup_that_cannot_be_used_changes_nothing(
    sample_home: Home, sample_project: Project, tmp_path: Path, words: str
) -> None:
    folder = Path(backup(sample_project, tmp_path / "elsewhere").folder)
    UNUSABLE[words](folder)
    if words != "are free in":  # whoever makes a backup makes its checksums
        write_checksums(folder)
    before, build = sample_home.warehouse.stat().st_ino, served_build(sample_home)
    with pytest.raises(TraithouseError, match=words) as refused:
        restore(sample_project, folder, force=True)
    assert str(folder) in refused.value.message
    assert (sample_home.warehouse.stat().st_ino, served_build(sample_home)) == (before, build)
    assert list(sample_home.root.glob(".restore*")) == []


def test_a_backup_around_the_home_is_refused(sample_home: Home, sample_project: Project) -> None:
    write_checksums(sample_home.root)
    with pytest.raises(UsageError, match="lies in the backup"):
        restore(sample_project, sample_home.root, force=True)


def test_rights_of_a_backups_files_are_not_taken_over(
    sample_home: Home, sample_project: Project, tmp_path: Path
) -> None:
    folder = Path(backup(sample_project, tmp_path / "elsewhere").folder)
    linked = tmp_path / "linked"
    os.link(folder / "warehouse.duckdb", linked)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o777)
    sample_home.root.chmod(0o700)
    restore(sample_project, folder, force=True)
    assert open_to_others(sample_home.root) == []
    assert sample_home.warehouse.stat().st_ino != linked.stat().st_ino
