"""Forgetting: nothing of a person is left in the home, everybody else stays as they are, and nobody comes back."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from orchestration.admin.backup import backup
from orchestration.admin.erasure import INTENT, forget_person, resume_forget
from orchestration.errors import UsageError
from orchestration.home import House, Settings, read_json
from orchestration.landing.load import load
from orchestration.pipeline.forget import forget
from orchestration.pipeline.refresh import refresh
from orchestration.publishing.snapshot import served_build
from orchestration.sync.engine import run_sync
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.plan import plan
from orchestration.transform.dbt import DbtProject
from tests.children import in_child
from tests.conftest import NOW, queried, served
from tests.orchestration.admin.conftest import VENDOR_ROWS, fill, story, write_ndjson
from tests.orchestration.admin.search import PAT, PERSON, places
from tests.streams.harness import differing, frozen

LEDGER = "sync_ledger.development.sqlite"
OTHERS = f"where entity_id not in {PERSON} order by all"


def published(house: House) -> list[list[tuple[object, ...]]]:
    tables = ("trait_values", "trait_changes")
    return [queried(house, f"from traits.{table} {OTHERS}") for table in tables]


def cleared(house: House, project: DbtProject) -> None:
    """The destination has been told, and the message that told it has been taken from the outbox."""
    assert run_sync(house, project.catalog, project.catalog.sync("outbox")).error == ""
    shutil.rmtree(house.outbox)


def test_nothing_of_a_person_is_left_and_others_stay(traced_house: House, traced_project: DbtProject) -> None:
    house, project = traced_house, traced_project
    before = places(house.root)
    for place in ("outbox", "inbox/loaded", "logs", "data_docs", "unknown.bin", "dagster", LEDGER, "serving"):
        assert any(name.startswith(place) for name in before), place
    for table in ('raw."rejected_events', 'raw_vendor."tracks', 'state."failed_rows', 'traits."trait_changes'):
        assert f'warehouse.duckdb: {table}"' in before
    kept, thresholds = published(house), queried(house, "from traits.trait_thresholds order by all")

    done = forget_person(house, project, PAT)

    assert done.ids == len(PERSON)
    # The destination of the sync still has her, and until it is told the ledger has to know whom to clear there.
    assert done.pending == ("outbox",)
    assert places(house.root) == {LEDGER}
    assert published(house) == kept
    assert [served(house, f"from traits.{name} {OTHERS}") for name in ("trait_values", "trait_changes")] == kept
    assert queried(house, "from traits.trait_thresholds order by all") == thresholds
    cleared(house, project)
    assert places(house.root) == set()


def test_nothing_is_left_in_parts_that_builds_share_nor_in_files_of_before(
    traced_house: House, traced_project: DbtProject
) -> None:
    """Snapshots of home and backup: two that share their parts, and one with a file a table, as was written before."""
    house, project = traced_house, traced_project
    for root in (house.root, Path(backup(house, project).folder)):
        folder = (root / "serving" / "current").resolve()
        shutil.copytree(folder, folder.with_name("000000-linked"), copy_function=os.link)
        single = folder.with_name("000000-single")
        single.mkdir()
        for table in read_json(folder / "manifest.json")["rows"]:
            duckdb.execute(f"copy (from '{folder}/{table}/*.parquet') to '{single}/{table}.parquet' (format parquet)")
        (single / "manifest.json").write_text('{"build_id": "000000-single", "rows": {}}')
    held = {Path(name).parent.name for name in places(house.root) if name.endswith(".parquet")}
    assert held >= {"trait_values", "trait_changes", "user_traits", "000000-single"}
    forget_person(house, project, PAT)
    assert places(house.root) == {LEDGER}
    for root in (house.root, *(house.root / "backups").iterdir()):
        folder = (root / "serving" / "current").resolve()
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]
        with duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True) as connection:
            for table in ("trait_values", "trait_changes", "user_traits"):
                parts = f"'{folder}/{table}/*.parquet'"
                rows = connection.execute(f"select count(*) from {parts}").fetchone()
                assert rows == connection.execute(f"select count(*) from traits.{table}").fetchone() != (0,)


def test_files_keep_the_rows_of_others(traced_house: House, traced_project: DbtProject) -> None:
    done = forget_person(traced_house, traced_project, PAT)
    root = traced_house.root
    with gzip.open(root / "inbox" / "loaded" / "export of forgotten.csv.gz", "rt") as stream:
        assert stream.read() == 'user,note\nu-otto-other,"asked\nfor forgotten"\nu-otto-other,his\n'
    assert (root / "logs" / "old.log").read_text() == "could not judge forgotten.\nnor u-other-secret\n"
    assert (root / "data_docs" / "index.html").read_text() == "<td>forgotten</td><td>u-otto-other</td>"
    assert done.files["unknown.bin"] == "deleted"
    assert "u-otto-other" in "".join(path.read_text() for path in root.rglob("outbox/outbox/*"))
    assert queried(traced_house, "select row_json from state.failed_rows") == [
        ('{"user_id": "u-otto-other", "value": null}',)
    ]


def test_a_house_that_forgot_is_one_that_never_knew(
    traced_house: House, traced_project: DbtProject, tmp_path: Path, of_house: Callable[[House], DbtProject]
) -> None:
    """Up to the features, row for row; also when the files are loaded again, and by an id that was merged."""
    forgotten, _ = forget(traced_house, traced_project, "u-pat-former")
    assert forgotten.ids == len(PERSON)
    without = House(Settings(home=tmp_path / "without"))
    fill(without, of_house(without), tmp_path, with_pat=False)
    refresh(without, of_house(without), now=NOW)
    frozen(without)
    assert differing(traced_house, without) == {}
    raw = "select * exclude (files, accepted, duplicates, rejected) from raw.loads", "from raw.events order by all"
    assert [queried(traced_house, sql) for sql in raw] == [queried(without, sql) for sql in raw]

    again = load(traced_house, [write_ndjson(tmp_path / "again.ndjson", story(with_pat=True))], source="story")
    assert (again.load_id, again.accepted, again.duplicates, again.forgotten) == (None, 0, 4, 5)
    bad = load(
        traced_house,
        [write_ndjson(tmp_path / "x.ndjson", [{"user_id": PAT, "event_name": "page", "occurred_at": "?"}])],
    )
    assert (bad.load_id, bad.rejected, bad.forgotten) == (None, 0, 1)
    vendor = load(traced_house, [write_ndjson(tmp_path / "t.ndjson", VENDOR_ROWS)], source="vendor", table="tracks")
    assert (vendor.load_id, vendor.duplicates, vendor.forgotten) == (None, 1, 1)
    (tmp_path / "whole.ndjson").write_text(json.dumps({"user_id": PAT}) + "\n{broken " + PAT + "\n")
    broken = load(traced_house, [tmp_path / "whole.ndjson"], source="vendor", table="tracks")
    assert (broken.load_id, broken.rejected, broken.forgotten) == (None, 0, 2)
    cleared(traced_house, traced_project)
    assert places(traced_house.root) == set()


def test_the_destination_is_told_to_delete_and_the_ledger_lets_go(
    traced_house: House, traced_project: DbtProject
) -> None:
    catalog = traced_project.catalog
    forget_person(traced_house, traced_project, PAT)
    with SyncLedger(traced_house) as ledger:
        records = plan(traced_house, catalog, catalog.sync("outbox"), ledger).records
    (record,) = (one for one in records if one.entity_id == PAT)
    assert (record.action, set(record.fields.values())) == ("delete", {None})
    assert record.message()["forgotten"] is True
    run_sync(traced_house, catalog, catalog.sync("outbox"))
    assert {place.split("/")[0] for place in places(traced_house.root)} == {"outbox"}
    # The file that told it is a file like any other: forgetting once more takes it.
    forget_person(traced_house, traced_project, PAT)
    assert places(traced_house.root) == set()


def test_a_shared_device_stays_with_its_other_users(traced_house: House, traced_project: DbtProject) -> None:
    with pytest.raises(UsageError, match="2 users share"):
        forget_person(traced_house, traced_project, "dev-shared-tablet")
    forget_person(traced_house, traced_project, PAT)
    left = queried(traced_house, "select event_id from raw.events where source = 'story' order by occurred_at")
    assert left == [("story-10",), ("story-11",), ("story-20",), ("story-21",)]


def test_an_account_is_forgotten_without_its_people(traced_house: House, traced_project: DbtProject) -> None:
    forget_person(traced_house, traced_project, "acme-inc", "account")
    run_sync(traced_house, traced_project.catalog, traced_project.catalog.sync("outbox"))
    assert places(traced_house.root, ["acme-inc"]) == set()
    assert queried(traced_house, "select count(*) from raw.events where user_id = 'u-otto-other'") == [(3,)]


def test_an_unknown_id_is_refused_and_leaves_no_tombstone(sample_house: House, sample_project: DbtProject) -> None:
    with pytest.raises(UsageError, match="no user user_000"):
        forget_person(sample_house, sample_project, "user_000")
    assert queried(sample_house, "from raw.tombstones") == []
    assert not (sample_house.root / INTENT).exists()


STEPS = 7


@pytest.mark.parametrize("step", range(STEPS))
def test_a_forgetting_that_was_killed_is_finished_by_the_next_one(
    traced_house: House, traced_project: DbtProject, step: int
) -> None:
    served_before, kept = served_build(traced_house), published(traced_house)
    said = []

    def die(message: str) -> None:
        said.append(message)
        if len(said) == step + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    status = in_child(lambda: forget_person(traced_house, traced_project, PAT, notify=die))
    assert os.WTERMSIG(status) == signal.SIGKILL, "there are fewer steps"
    assert served_build(traced_house) == served_before
    with traced_house.lock("test"):
        resume_forget(traced_house, traced_project)
    cleared(traced_house, traced_project)
    assert places(traced_house.root) == set()
    assert published(traced_house) == kept
    assert not (traced_house.root / INTENT).exists()


@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.5, 0.8])
def test_a_forgetting_that_was_killed_at_any_time_is_finished(
    traced_house: House, traced_project: DbtProject, seconds: float
) -> None:
    kept = published(traced_house)
    _ = traced_project.manifest_dict

    def doomed() -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)  # its signal ends the process at once
        forget_person(traced_house, traced_project, PAT)
        signal.pause()

    assert os.WTERMSIG(in_child(doomed)) == signal.SIGALRM
    assert served_build(traced_house)
    forget_person(traced_house, traced_project, PAT)
    cleared(traced_house, traced_project)
    assert places(traced_house.root) == set()
    assert published(traced_house) == kept


def test_a_refresh_finishes_what_was_cut_off(traced_house: House, traced_project: DbtProject) -> None:
    def die(message: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    in_child(lambda: forget_person(traced_house, traced_project, PAT, notify=die))
    assert (traced_house.root / INTENT).exists()
    refresh(traced_house, traced_project)
    cleared(traced_house, traced_project)
    assert places(traced_house.root) == set()


def test_a_short_id_takes_no_other_word_with_it(
    house: House, events_file: Callable[..., Path], of_house: Callable[[House], DbtProject]
) -> None:
    rows = [
        {"event_id": f"e{n}", "user_id": one, "event_name": "page", "occurred_at": f"2024-01-0{n}", "properties": said}
        for n, one, said in ((1, "5", {}), (2, "55", {"by": "5", "count": 5, "note": "5 of 5"}))
    ]
    load(house, [events_file(rows)])
    project = of_house(house)
    refresh(house, project)
    forget_person(house, project, "5")
    assert queried(house, "select user_id, properties from raw.events") == [
        ("55", '{"by":"forgotten","count":5,"note":"5 of 5"}')
    ]
    again = load(house, [events_file(rows)])
    assert (again.accepted, again.duplicates, again.forgotten) == (0, 1, 1)
