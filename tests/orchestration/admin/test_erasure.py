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
from orchestration.admin.erasure import INTENT, forget_people, resume_forget
from orchestration.errors import UsageError
from orchestration.home import Home, Settings, read_json
from orchestration.landing.load import load
from orchestration.pipeline.forget import forget
from orchestration.pipeline.refresh import refresh
from orchestration.publishing.snapshot import served_build
from orchestration.sync.engine import run_sync
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.plan import plan
from orchestration.transform.dbt import Project
from tests.children import in_child
from tests.conftest import NOW, queried, served
from tests.orchestration.admin.conftest import VENDOR_ROWS, fill, story, write_ndjson
from tests.orchestration.admin.search import PAT, PAT_IDS, places
from tests.streams.harness import differing, frozen

LEDGER = "sync_ledger.development.sqlite"
OTHERS = f"where entity_id not in {PAT_IDS} order by all"


def published(home: Home) -> list[list[tuple[object, ...]]]:
    tables = ("trait_values", "trait_changes")
    return [queried(home, f"from traits.{table} {OTHERS}") for table in tables]


def cleared(home: Home, project: Project) -> None:
    """The destination has been told, and the message that told it has been taken from the outbox."""
    assert run_sync(home, project.catalog, project.catalog.sync("outbox")).error == ""
    shutil.rmtree(home.outbox)


def test_nothing_of_a_person_is_left_and_others_stay(traced_home: Home, traced_project: Project) -> None:
    home, project = traced_home, traced_project
    before = places(home.root)
    for place in ("outbox", "inbox/loaded", "logs", "data_docs", "unknown.bin", "dagster", LEDGER, "serving"):
        assert any(name.startswith(place) for name in before), place
    for table in ('raw."rejected_events', 'raw_vendor."tracks', 'state."failed_rows', 'traits."trait_changes'):
        assert f'warehouse.duckdb: {table}"' in before
    kept, thresholds = published(home), queried(home, "from traits.trait_thresholds order by all")

    done = forget_people(project, [PAT])

    assert done.ids == len(PAT_IDS)
    # The destination of the sync still has her, and until it is told the ledger has to know whom to clear there.
    assert done.pending == ("outbox",)
    assert places(home.root) == {LEDGER}
    assert published(home) == kept
    assert [served(home, f"from traits.{name} {OTHERS}") for name in ("trait_values", "trait_changes")] == kept
    assert queried(home, "from traits.trait_thresholds order by all") == thresholds
    cleared(home, project)
    assert places(home.root) == set()


@pytest.mark.long
def test_nothing_is_left_in_parts_that_builds_share_nor_in_files_of_before(
    traced_home: Home, traced_project: Project
) -> None:
    """Snapshots of home and backup: two that share their parts, and one with a file a table, as was written before."""
    home, project = traced_home, traced_project
    for root in (home.root, Path(backup(project).folder)):
        folder = (root / "serving" / "current").resolve()
        shutil.copytree(folder, folder.with_name("000000-linked"), copy_function=os.link)
        single = folder.with_name("000000-single")
        single.mkdir()
        for table in read_json(folder / "manifest.json")["rows"]:
            duckdb.execute(f"copy (from '{folder}/{table}/*.parquet') to '{single}/{table}.parquet' (format parquet)")
        (single / "manifest.json").write_text('{"build_id": "000000-single", "rows": {}}')
    held = {Path(name).parent.name for name in places(home.root) if name.endswith(".parquet")}
    assert held >= {"trait_values", "trait_changes", "user_traits", "000000-single"}
    forget_people(project, [PAT])
    assert places(home.root) == {LEDGER}
    for root in (home.root, *(home.root / "backups").iterdir()):
        folder = (root / "serving" / "current").resolve()
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]
        with duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True) as connection:
            for table in ("trait_values", "trait_changes", "user_traits"):
                parts = f"'{folder}/{table}/*.parquet'"
                rows = connection.execute(f"select count(*) from {parts}").fetchone()
                assert rows == connection.execute(f"select count(*) from traits.{table}").fetchone() != (0,)


def test_files_keep_the_rows_of_others(traced_home: Home, traced_project: Project) -> None:
    done = forget_people(traced_project, [PAT])
    root = traced_home.root
    with gzip.open(root / "inbox" / "loaded" / "export of forgotten.csv.gz", "rt") as stream:
        assert stream.read() == 'user,note\nu-otto-other,"asked\nfor forgotten"\nu-otto-other,his\n'
    assert (root / "logs" / "old.log").read_text() == "could not judge forgotten.\nnor u-other-secret\n"
    assert (root / "data_docs" / "index.html").read_text() == "<td>forgotten</td><td>u-otto-other</td>"
    assert done.files["unknown.bin"] == "deleted"
    assert "u-otto-other" in "".join(path.read_text() for path in root.rglob("outbox/outbox/*"))
    assert queried(traced_home, "select row_json from state.failed_rows") == [
        ('{"user_id": "u-otto-other", "value": null}',)
    ]


@pytest.mark.long
def test_a_home_that_forgot_is_one_that_never_knew(
    traced_home: Home, traced_project: Project, tmp_path: Path, project_in: Callable[[Home], Project]
) -> None:
    """Up to the features, row for row; also when the files are loaded again, and by an id that was merged."""
    forgotten, _ = forget(traced_project, ["u-pat-former"])
    assert forgotten.ids == len(PAT_IDS)
    without = Home(Settings(home=tmp_path / "without"))
    fill(without, project_in(without), tmp_path, with_pat=False)
    refresh(project_in(without), now=NOW)
    frozen(without)
    assert differing(traced_home, without) == {}
    raw = "select * exclude (files, accepted, duplicates, rejected) from raw.loads", "from raw.events order by all"
    assert [queried(traced_home, sql) for sql in raw] == [queried(without, sql) for sql in raw]

    again = load(traced_home, [write_ndjson(tmp_path / "again.ndjson", story(with_pat=True))], source="story")
    assert (again.load_id, again.accepted, again.duplicates, again.forgotten) == (None, 0, 4, 5)
    bad = load(
        traced_home,
        [write_ndjson(tmp_path / "x.ndjson", [{"user_id": PAT, "event_name": "page", "occurred_at": "?"}])],
    )
    assert (bad.load_id, bad.rejected, bad.forgotten) == (None, 0, 1)
    vendor = load(traced_home, [write_ndjson(tmp_path / "t.ndjson", VENDOR_ROWS)], source="vendor", table="tracks")
    assert (vendor.load_id, vendor.duplicates, vendor.forgotten) == (None, 1, 1)
    (tmp_path / "whole.ndjson").write_text(json.dumps({"user_id": PAT}) + "\n{broken " + PAT + "\n")
    broken = load(traced_home, [tmp_path / "whole.ndjson"], source="vendor", table="tracks")
    assert (broken.load_id, broken.rejected, broken.forgotten) == (None, 0, 2)
    cleared(traced_home, traced_project)
    assert places(traced_home.root) == set()


def test_the_destination_is_told_to_delete_and_the_ledger_lets_go(traced_home: Home, traced_project: Project) -> None:
    catalog = traced_project.catalog
    forget_people(traced_project, [PAT])
    with SyncLedger(traced_home) as ledger:
        records = plan(traced_home, catalog, catalog.sync("outbox"), ledger).records
    (record,) = (record for record in records if record.entity_id == PAT)
    assert (record.action, set(record.fields.values())) == ("delete", {None})
    assert record.message()["forgotten"] is True
    run_sync(traced_home, catalog, catalog.sync("outbox"))
    assert {place.split("/")[0] for place in places(traced_home.root)} == {"outbox"}
    # The file that told it is a file like any other: forgetting once more takes it.
    forget_people(traced_project, [PAT])
    assert places(traced_home.root) == set()


def test_a_shared_device_stays_with_its_other_users(traced_home: Home, traced_project: Project) -> None:
    with pytest.raises(UsageError, match="2 users share"):
        forget_people(traced_project, ["dev-shared-tablet"])
    forget_people(traced_project, [PAT])
    left = queried(traced_home, "select event_id from raw.events where source = 'story' order by occurred_at")
    assert left == [("story-10",), ("story-11",), ("story-20",), ("story-21",)]


def test_an_account_is_forgotten_without_its_people(traced_home: Home, traced_project: Project) -> None:
    forget_people(traced_project, ["acme-inc"], "account")
    run_sync(traced_home, traced_project.catalog, traced_project.catalog.sync("outbox"))
    assert places(traced_home.root, ["acme-inc"]) == set()
    assert queried(traced_home, "select count(*) from raw.events where user_id = 'u-otto-other'") == [(3,)]


def test_an_unknown_id_is_refused_and_leaves_no_tombstone(sample_home: Home, sample_project: Project) -> None:
    with pytest.raises(UsageError, match="no user user_000"):
        forget_people(sample_project, ["user_000"])
    assert queried(sample_home, "from raw.tombstones") == []
    assert not (sample_home.root / INTENT).exists()


STEPS = 7


@pytest.mark.parametrize("step", [3, *(pytest.param(n, marks=pytest.mark.long) for n in range(STEPS) if n != 3)])
def test_a_forgetting_that_was_killed_is_finished_by_the_next_one(
    traced_home: Home, traced_project: Project, step: int
) -> None:
    served_before, kept = served_build(traced_home), published(traced_home)
    steps = []

    def die(message: str) -> None:
        steps.append(message)
        if len(steps) == step + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    status = in_child(lambda: forget_people(traced_project, [PAT], notify=die))
    assert os.WTERMSIG(status) == signal.SIGKILL, "there are fewer steps"
    assert served_build(traced_home) == served_before
    with traced_home.lock("test"):
        resume_forget(traced_project)
    cleared(traced_home, traced_project)
    assert places(traced_home.root) == set()
    assert published(traced_home) == kept
    assert not (traced_home.root / INTENT).exists()


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.5, 0.8])
def test_a_forgetting_that_was_killed_at_any_time_is_finished(
    traced_home: Home, traced_project: Project, seconds: float
) -> None:
    kept = published(traced_home)
    _ = traced_project.manifest_dict

    def doomed() -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)  # its signal ends the process at once
        forget_people(traced_project, [PAT])
        signal.pause()

    assert os.WTERMSIG(in_child(doomed)) == signal.SIGALRM
    assert served_build(traced_home)
    forget_people(traced_project, [PAT])
    cleared(traced_home, traced_project)
    assert places(traced_home.root) == set()
    assert published(traced_home) == kept


@pytest.mark.long
def test_a_refresh_finishes_what_was_cut_off(traced_home: Home, traced_project: Project) -> None:
    def die(message: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    in_child(lambda: forget_people(traced_project, [PAT], notify=die))
    assert (traced_home.root / INTENT).exists()
    refresh(traced_project)
    cleared(traced_home, traced_project)
    assert places(traced_home.root) == set()


@pytest.mark.long
def test_a_short_id_takes_no_other_word_with_it(
    home: Home, events_file: Callable[..., Path], project_in: Callable[[Home], Project]
) -> None:
    rows = [
        {
            "event_id": f"e{n}",
            "user_id": user,
            "event_name": "page",
            "occurred_at": f"2024-01-0{n}",
            "properties": values,
        }
        for n, user, values in ((1, "5", {}), (2, "55", {"by": "5", "count": 5, "note": "5 of 5"}))
    ]
    load(home, [events_file(rows)])
    project = project_in(home)
    refresh(project)
    forget_people(project, ["5"])
    assert queried(home, "select user_id, properties from raw.events") == [
        ("55", '{"by":"forgotten","count":5,"note":"5 of 5"}')
    ]
    again = load(home, [events_file(rows)])
    assert (again.accepted, again.duplicates, again.forgotten) == (0, 1, 1)


ADA = "Ada.Ü@example.com"
SPELLINGS = (
    ADA,
    "ADA.Ü@EXAMPLE.COM",
    "ada.ü@example.com",
    "ada.%C3%BC%40example.com",
    "Ada.%c3%9c%40example.com",
    "ada.%25C3%25BC%2540example.com",
    r"ada.\u00fc\u0040example.com",
    r"ada.\\u00FC\\u0040example.com",
    "ada.ü&#64;example.com",
    "ada.&#xFC;&#x40;example.com",
)
# Of other case than the spellings, because those are looked for as parts of words.
OTHERS_STAY = ("nada.ü@Example.com", "ada.ü@Example.community", "ada.o@example.com")


def test_an_id_is_found_in_every_spelling_in_texts_of_others_and_in_names(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    number = range(len(SPELLINGS))
    rows = [{"event_id": "hers", "user_id": ADA, "event_name": "page", "occurred_at": "2024-01-01"}]
    rows += [
        {
            "event_id": f"e{n}",
            "user_id": "u-otto-other",
            "event_name": "page",
            "occurred_at": "2024-01-02",
            "properties": {"url": f"https://x.test/?to={text}&back=%2F%3Fq%3D{text}", "text": f"for\n{text}, hello"},
            "context": {"page": {"path": f"/u/{text}/x"}, "others": list(OTHERS_STAY)},
        }
        for n, text in zip(number, SPELLINGS, strict=True)
    ]
    load(home, [events_file(rows)])
    broken = home.root.parent / "broken.ndjson"
    broken.write_text("".join(f'{{"user_id": "u-otto-other", "url": "/?to={text}", \n' for text in SPELLINGS))
    with pytest.raises(UsageError, match="No row was accepted"):
        load(home, [broken])
    with home.connect() as connection:
        connection.execute("create table raw.replies as select unnest($texts) as reply", {"texts": SPELLINGS})
    assert len(queried(home, "from raw.rejected_events")) == len(SPELLINGS)
    write_ndjson(home.inbox / "to Ada.%C3%9C%40example.com" / "ADA.Ü@EXAMPLE.COM.ndjson", rows)
    write_ndjson(home.inbox / "to forgotten" / "forgotten.ndjson", rows[:0])
    home.logs.mkdir(exist_ok=True)
    (home.logs / "x.log").write_text("".join(f"GET /?q%3D{text}\n" for text in (*SPELLINGS, *OTHERS_STAY)))
    assert len(places(home.root, SPELLINGS)) > 5

    forget_people(project_in(home), [ADA])

    assert places(home.root, SPELLINGS) == set()
    assert queried(home, "select count(*) from raw.events where user_id = 'u-otto-other'") == [(len(SPELLINGS),)]
    assert (home.logs / "x.log").read_text().splitlines()[-3:] == [f"GET /?q%3D{text}" for text in OTHERS_STAY]
    kept = queried(home, "select distinct context -> '$.others' from raw.events")
    assert [json.loads(value) for (value,) in kept] == [list(OTHERS_STAY)]
    assert sorted(path.name for path in home.inbox.iterdir()) == ["2-to forgotten", "to forgotten"]
    assert (home.inbox / "to forgotten" / "forgotten.ndjson").read_text() == ""
    assert len((home.inbox / "2-to forgotten" / "forgotten.ndjson").read_text().splitlines()) == len(SPELLINGS)


def test_texts_of_others_that_come_later_do_not_name_the_forgotten(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    def event(n: int, user: str, url: str) -> dict[str, object]:
        properties = {"url": url, "broken": "%zz 50% of %ff"}
        return {
            "event_id": f"e{n}",
            "user_id": user,
            "event_name": "page",
            "occurred_at": f"2024-01-0{n}",
            "properties": properties,
        }

    load(home, [events_file([event(1, "bo@example.com", "/")])])
    forget_people(project_in(home), ["bo@example.com"])
    found = ("bo@example.com", "BO@EXAMPLE.COM", "bo%40example.com", "Bo%2540Example.com")
    url = "&".join(f"to={text}&back=%2F%3Fq%3D{text}" for text in found)
    load(home, [events_file([event(2, "u-otto-other", f"/?{url}&by=obo@example.com")])])
    (properties,) = queried(home, "select properties from raw.events")[0]
    assert json.loads(properties)["url"].count("forgotten") == 2 * len(found)
    assert json.loads(properties)["url"].endswith("by=obo@example.com")
    assert json.loads(properties)["broken"] == "%zz 50% of %ff"
