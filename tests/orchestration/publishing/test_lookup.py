"""The lookup: written beside the last one, copied to where replicas follow, without what nobody may see."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.admin.backup import backup
from orchestration.admin.erasure import forget_people
from orchestration.admin.restore import restore
from orchestration.home import Home, Settings
from orchestration.pipeline.doctor import doctor
from orchestration.published.audit_log import record_act
from orchestration.published.lookup_file import read_pointer
from orchestration.publishing.publish import publish
from orchestration.serving.keys import add_key, read_keys
from orchestration.serving.lookup import Lookups
from orchestration.transform.dbt import Project
from tests.api import republish
from tests.conftest import queried, served

USER = "user_0000"


def files(folder: Path) -> list[str]:
    """Lookups, drafts and the pointer; not what SQLite puts beside an open file."""
    found = [path.name for path in folder.iterdir() if path.name.startswith(("lookup", ".lookup"))]
    return sorted(name for name in found if not name.endswith(("-shm", "-wal")))


def current(home: Home) -> Lookups:
    lookups = Lookups(home.serving)
    lookups.look()
    return lookups


def copying(home: Home, to: Path) -> Home:
    return Home(home.settings.model_copy(update={"serve_to": str(to)}))


def test_the_last_lookups_stay_for_their_readers_and_drafts_do_not(sample_home: Home) -> None:
    (sample_home.serving / ".lookup-cut-off").write_text("half")
    builds = [republish(sample_home) for _ in range(4)]
    assert files(sample_home.serving) == [*(f"lookup-{build}.sqlite" for build in builds[1:]), "lookup.json"]
    pointer = read_pointer(sample_home.serving)
    assert pointer
    assert pointer.build_id == builds[-1]
    with sqlite3.connect(sample_home.serving / pointer.file) as lookup:
        assert lookup.execute("pragma journal_mode").fetchone() == ("wal",)
        assert lookup.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_lookup_that_is_gone_is_written_by_the_next_publish(sample_home: Home, sample_project: Project) -> None:
    pointer = read_pointer(sample_home.serving)
    assert pointer
    for path in sample_home.serving.glob("lookup*"):
        path.unlink()
    assert not publish(sample_project).published
    again = read_pointer(sample_home.serving)
    assert again
    assert again.build_id == pointer.build_id
    assert current(sample_home).current.entity("user", USER)
    unchanged = (sample_home.serving / again.file).stat().st_mtime_ns
    publish(sample_project)
    assert (sample_home.serving / again.file).stat().st_mtime_ns == unchanged


def test_visitors_are_served_only_where_a_trait_is_of_everyone(sample_home: Home) -> None:
    republish(
        sample_home,
        f"update traits.trait_values set is_anonymous = true where entity_id = '{USER}'",
        f"update traits.trait_changes set is_anonymous = true where entity_id = '{USER}'",
        "update traits.trait_catalog set everyone = true where trait = 'dormant'",
    )
    lookup = current(sample_home).current
    entity = lookup.entity("user", USER)
    assert entity
    assert list(entity.traits) == ["dormant"]
    assert {row["trait"] for row in lookup.changes(0, 100_000) if row["entity_id"] == USER} == {"dormant"}


def test_a_trait_that_is_no_longer_served_disappears_although_it_was_not_judged(
    sample_home: Home, sample_project: Project
) -> None:
    catalog = sample_project.catalog
    hidden = tuple(
        trait.model_copy(update={"serve": "never"}) if trait.name == "dormant" else trait for trait in catalog.traits
    )
    with sample_home.lock("a test"), sample_home.connect() as connection:
        connection.execute("delete from state.gate_verdicts where trait = 'dormant'")
    publish(sample_project.replace(catalog=catalog.model_copy(update={"traits": hidden})))
    assert "dormant" not in current(sample_home).current.traits


def test_a_copy_is_what_is_served_and_a_failed_one_is_made_up_for(
    sample_home: Home, sample_project: Project, tmp_path: Path, project_in: Callable[[Home], Project]
) -> None:
    add_key(sample_home.serving, "backend", "reader")
    place = tmp_path / "place" / "of" / "replicas"
    home = copying(sample_home, place)
    for number in range(4):
        republish(home)
        assert len(files(place)) == min(number + 2, 4)
    assert read_pointer(place) == read_pointer(home.serving)
    assert read_keys(place) == read_keys(home.serving)
    broken = copying(sample_home, tmp_path / "file" / "below")
    (tmp_path / "file").write_text("no folder")
    republish(broken)
    assert "TRAITHOUSE_SERVE_TO cannot be reached: " in broken.status()["served_copy"]["trouble"]
    (tmp_path / "file").unlink()
    publish(project_in(broken))
    assert broken.status()["served_copy"]["trouble"] is None
    assert read_pointer(tmp_path / "file" / "below") == read_pointer(home.serving)


def test_who_is_forgotten_is_in_no_lookup_and_in_no_copy(
    sample_home: Home, tmp_path: Path, project_in: Callable[[Home], Project]
) -> None:
    home = copying(sample_home, tmp_path / "place")
    republish(home)
    republish(home)
    assert any(USER.encode() in path.read_bytes() for path in (tmp_path / "place").iterdir())
    forget_people(project_in(home), [USER])
    for folder in (home.serving, tmp_path / "place"):
        assert len(files(folder)) == 2
        assert not [path for path in folder.rglob("*") if path.is_file() and USER.encode() in path.read_bytes()]
    assert current(home).current.entity("user", USER) is None


def test_a_restored_home_serves_what_it_holds_and_keeps_its_keys(
    sample_home: Home, sample_project: Project, tmp_path: Path, project_in: Callable[[Home], Project]
) -> None:
    add_key(sample_home.serving, "backend", "reader")
    record_act(sample_home, "key added", "backend")
    made = backup(sample_project, tmp_path / "elsewhere")
    build = current(sample_home).current.build_id
    republish(sample_home, "delete from traits.trait_values where trait = 'dormant'")
    add_key(sample_home.serving, "later", "reader")
    restore(sample_project, Path(made.folder), force=True)
    assert current(sample_home).current.build_id == build
    assert "dormant" in current(sample_home).current.traits
    assert len(files(sample_home.serving)) == 2
    assert [key.name for key in read_keys(sample_home.serving).values()] == ["backend", "later"]
    other = Home(Settings(home=tmp_path / "other"))
    restore(project_in(other), Path(made.folder))
    assert current(other).current.build_id == build
    assert [key.name for key in read_keys(other.serving).values()] == ["backend"]
    assert (other.root / "plays.sqlite").exists()


def test_acts_are_published_once_each(
    sample_home: Home, sample_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAITHOUSE_USER", "ada")
    record_act(sample_home, "key added", "backend", "role reader")
    with sample_home.lock("a test"), sample_home.connect():
        # Also while a refresh holds the warehouse.
        record_act(sample_home, "key revoked", "backend")
    columns = "act_id, actor, role, act, object, detail"
    for _ in range(2):
        with sample_home.lock("a test"), sample_home.connect() as connection:
            connection.execute("delete from traits.trait_catalog where trait = 'dormant'")
        assert publish(sample_project).published
        assert served(sample_home, f"select {columns} from traits.audit_log order by act_id") == [
            (1, "ada", "", "key added", "backend", "role reader"),
            (2, "ada", "", "key revoked", "backend", ""),
        ]
    assert queried(sample_home, "select count(*) from traits.audit_log where acted_at > timestamp '2026-01-01'") == [
        (2,)
    ]


def test_the_doctor_names_a_lookup_that_cannot_be_read(sample_home: Home, sample_project: Project) -> None:
    pointer = read_pointer(sample_home.serving)
    assert pointer
    lookup = sample_home.serving / pointer.file
    assert not [problem for problem in doctor(sample_project)["problems"] if "lookup" in problem]
    lookup.write_bytes(lookup.read_bytes()[:20_000] + b"\0" * 40_000)
    assert any(f"{lookup} is damaged" in problem for problem in doctor(sample_project)["problems"])
    lookup.unlink()
    assert (
        "The lookup that the API reads is missing; traithouse refresh writes it." in doctor(sample_project)["problems"]
    )
    publish(sample_project)
    assert not [problem for problem in doctor(sample_project)["problems"] if "lookup" in problem]


def test_a_pointer_of_another_kind_is_none(tmp_path: Path) -> None:
    whole = {"file": "lookup-1.sqlite", "sha256": "0", "build_id": "1", "published_at": "now"}
    for change in ({"file": "../lookup-1.sqlite"}, {"file": 7}, {"sha256": None}, {"build_id": []}):
        (tmp_path / "lookup.json").write_text(json.dumps(whole | change))
        assert read_pointer(tmp_path) is None
    (tmp_path / "lookup.json").write_text(json.dumps(whole))
    assert read_pointer(tmp_path) is not None
