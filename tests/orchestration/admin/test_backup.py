"""Backups: whole or not there; a restored home goes on as if nothing had been."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.admin.backup import backup, restore
from orchestration.admin.erasure import forget_person
from orchestration.errors import TraithouseError, UsageError, WarehouseBusyError
from orchestration.home import House, Settings
from orchestration.landing.load import load
from orchestration.pipeline.refresh import refresh
from orchestration.publishing.snapshot import served_build
from orchestration.sync.engine import run_sync
from orchestration.sync.ledger import SyncLedger
from orchestration.transform.dbt import DbtProject
from tests.children import in_child
from tests.conftest import NOW, queried, served
from tests.orchestration.admin.conftest import story, write_ndjson
from tests.orchestration.admin.search import PAT, places
from tests.orchestration.admin.test_rights import open_to_others
from tests.streams.harness import differing, frozen

PUBLISHED = "select * exclude (build_id) from traits.trait_values order by all"


@pytest.fixture
def empty(tmp_path: Path) -> House:
    """Another home, that nobody has used."""
    return House(Settings(home=tmp_path / "other"))


def go_on(house: House, project: DbtProject, folder: Path) -> None:
    """What happens after: new events, a refresh."""
    load(house, [write_ndjson(folder / "later.ndjson", story(with_pat=True))], source="story", now=NOW)
    refresh(house, project, now=NOW)


def test_a_restored_home_goes_on_like_one_that_never_was_away(
    sample_house: House,
    sample_project: DbtProject,
    empty: House,
    tmp_path: Path,
    of_house: Callable[[House], DbtProject],
) -> None:
    run_sync(sample_house, sample_project.catalog, sample_project.catalog.sync("outbox"))
    made = backup(sample_house, sample_project, tmp_path / "elsewhere")
    restored = restore(empty, of_house(empty), Path(made.folder))
    assert restored.replaced is None
    assert served_build(empty) == served_build(sample_house) == made.build_id
    with SyncLedger(sample_house) as one, SyncLedger(empty) as other:
        assert other.sent("outbox") == one.sent("outbox") != {}
    assert open_to_others(empty.root) == open_to_others(tmp_path / "elsewhere") == []

    go_on(sample_house, sample_project, tmp_path)
    go_on(empty, of_house(empty), tmp_path)
    frozen(sample_house)
    assert differing(empty, sample_house) == {}
    assert served(empty, PUBLISHED) == served(sample_house, PUBLISHED)
    assert queried(empty, "from traits.trait_changes order by seq") == queried(
        sample_house, "from traits.trait_changes order by seq"
    )


def test_a_home_that_holds_something_is_replaced_only_by_force_and_kept(
    sample_house: House, sample_project: DbtProject
) -> None:
    made = backup(sample_house, sample_project)
    assert Path(made.folder).parent == sample_house.root / "backups"
    with sample_house.connect() as connection:
        connection.execute("delete from traits.trait_values")
    with pytest.raises(UsageError, match="holds a warehouse"):
        restore(sample_house, sample_project, Path(made.folder))
    restored = restore(sample_house, sample_project, Path(Path(made.folder).name), force=True)
    assert queried(sample_house, "select count(*) from traits.trait_values") == [(5400,)]
    replaced = House(Settings(home=Path(str(restored.replaced))))
    assert queried(replaced, "select count(*) from traits.trait_values") == [(0,)]
    assert served(sample_house, "select count(*) from traits.trait_values") == [(5400,)]
    assert refresh(sample_house, sample_project, now=NOW)[1].published is False


def test_a_broken_warehouse_can_be_replaced(sample_house: House, sample_project: DbtProject) -> None:
    made = backup(sample_house, sample_project)
    sample_house.warehouse.write_bytes(b"not a database")
    sample_house.warehouse.with_name("warehouse.duckdb.wal").write_bytes(b"of another file")
    restore(sample_house, sample_project, Path(made.folder), force=True)
    assert queried(sample_house, "select count(*) from traits.trait_values") == [(5400,)]


def test_who_was_forgotten_since_stays_forgotten(
    traced_house: House, traced_project: DbtProject, tmp_path: Path
) -> None:
    outside = backup(traced_house, traced_project, tmp_path / "elsewhere")
    inside = backup(traced_house, traced_project)
    assert any(place.startswith("backups") for place in places(traced_house.root))
    forget_person(traced_house, traced_project, PAT)
    run_sync(traced_house, traced_project.catalog, traced_project.catalog.sync("outbox"))
    shutil.rmtree(traced_house.outbox)
    assert places(traced_house.root) == set()

    restored = restore(traced_house, traced_project, Path(outside.folder), force=True)
    assert restored.forgotten == 3
    assert places(traced_house.root) == set()
    # The backup in the home was rewritten, and is whole.
    assert restore(traced_house, traced_project, Path(inside.folder), force=True).forgotten == 0


def test_a_backup_that_was_changed_is_refused(sample_house: House, sample_project: DbtProject, empty: House) -> None:
    made = Path(backup(sample_house, sample_project).folder)
    with (made / "warehouse.duckdb").open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"changed")
    with pytest.raises(UsageError, match=r"warehouse\.duckdb differs"):
        restore(empty, sample_project, made)
    with pytest.raises(UsageError, match="is no backup"):
        restore(empty, sample_project, sample_house.root)
    assert not empty.warehouse.exists()


def test_a_backup_waits_for_whoever_writes(sample_house: House, sample_project: DbtProject) -> None:
    def busy() -> None:
        try:
            backup(sample_house, sample_project)
        except WarehouseBusyError:
            os._exit(5)

    with sample_house.lock("test"):
        assert os.waitstatus_to_exitcode(in_child(busy)) == 5
    assert not (sample_house.root / "backups").exists()


@pytest.mark.parametrize("step", range(7))
def test_a_restore_that_was_killed_is_finished_by_the_next_and_nothing_runs_between(
    sample_house: House, sample_project: DbtProject, step: int
) -> None:
    run_sync(sample_house, sample_project.catalog, sample_project.catalog.sync("outbox"))
    made = Path(backup(sample_house, sample_project).folder)
    with sample_house.connect() as connection:
        connection.execute("delete from traits.trait_values")
    said = 0

    def die(message: str) -> None:
        nonlocal said
        said += 1
        if said == step + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    status = in_child(lambda: restore(sample_house, sample_project, made, force=True, notify=die))
    if step == 6:
        assert status == 0, "there are more steps"
        return
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert served(sample_house, "select count(*) from traits.trait_values") == [(5400,)]
    if (sample_house.root / "restore.json").exists():
        with pytest.raises(TraithouseError, match="restore of this home was cut off"):
            refresh(sample_house, sample_project)
    else:
        assert queried(sample_house, "select count(*) from traits.trait_values") == [(0,)]
    restored = restore(sample_house, sample_project, made, force=True)
    assert queried(sample_house, "select count(*) from traits.trait_values") == [(5400,)]
    replaced = House(Settings(home=Path(str(restored.replaced))))
    assert queried(replaced, "select count(*) from traits.trait_values") == [(0,)]
    assert list(sample_house.root.glob(".restore*")) == []
    assert refresh(sample_house, sample_project, now=NOW)[1].published is False
