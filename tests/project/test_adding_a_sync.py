"""One more sync is one YAML entry; one more destination is one Python file."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration import destinations
from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.landing.load import load
from orchestration.sync.engine import run_sync
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.conftest import served

DESTINATION = '''
"""Lines of text in one file."""

from orchestration.destinations import Destination, ObjectKind


class NotepadDestination(Destination):
    remote = False
    objects = {"lines": ObjectKind("user", "name", types=frozenset({"string"}))}
    batch_size = 50

    def deliver(self, records):
        self.outbox.mkdir(exist_ok=True)
        with (self.outbox / "notepad.txt").open("a") as file:
            for record in records:
                file.write(f"{record.identifier} {record.fields}\\n")
        return [None] * len(records)
'''

ENTRY = """
  - name: notes
    type: application
    owner: {name: Data team, email: data@example.com}
    description: Power users, by their email, as text.
    config:
      meta:
        sync:
          destination: notepad
          identifier: email
          traits: [power_user, lifecycle_stage]
          fields:
            power_user: {field: risk, cast: string, cleared: unknown}
          scope: {trait: power_user}
          mode: mirror
          budget: 100000
"""


@pytest.fixture
def notepad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "notepad.py").write_text(DESTINATION)
    monkeypatch.setattr(destinations, "__path__", [*destinations.__path__, str(tmp_path / "more")])
    destinations.destinations.cache_clear()
    yield
    monkeypatch.undo()
    sys.modules.pop(f"{destinations.__name__}.notepad", None)
    destinations.destinations.cache_clear()


def declared(home: Home, project_copy: Path, entry: str = ENTRY) -> Project:
    entries = project_copy / "models/syncs/_syncs.yml"
    entries.write_text(entries.read_text() + entry)
    return Project(Home(home.settings.model_copy(update={"project": project_copy})))


@pytest.mark.long
def test_a_sync_is_one_entry_and_a_destination_one_file(
    sample_home: Home, project_copy: Path, notepad: None, events_file: Any
) -> None:
    project = declared(sample_home, project_copy)
    sync = project.catalog.sync("notes")
    with pytest.raises(UsageError, match="email of users has not been read since"):
        run_sync(sample_home, project.catalog, sync)
    known = [
        user for (user,) in served(sample_home, "select user_id from traits.user_traits where power_user limit 20")
    ]
    identified = [
        {
            "event_id": f"identify-{user}",
            "event_type": "identify",
            "event_name": "identify",
            "occurred_at": "2024-05-01T12:00:00Z",
            "user_id": user,
            "properties": {"email": f"{user}@example.com"},
        }
        for user in known
    ]
    load(sample_home, [events_file(identified)], source="crm")
    publish_day(project)
    report = run_sync(sample_home, project.catalog, sync)
    powerful = {user for (user,) in served(sample_home, "select user_id from traits.user_traits where power_user")}
    reached = powerful & set(known)
    assert len(reached) > 10
    assert report.delivered == len(reached)
    assert report.skipped == {"out of scope": 600 - len(powerful), "no email": len(powerful - reached)}
    lines = (sample_home.outbox / "notepad.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == sorted(f"{user}@example.com" for user in reached)
    assert all("'risk': 'true'" in line for line in lines)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "traits: [power_user,",
            "traits: [powr_user,",
            "_syncs.yml: sync notes: traits: there is no trait 'powr_user'",
        ),
        ("identifier: email", "identifier: emial", "_syncs.yml: sync notes: identifier: 'emial' is no attribute"),
        ("cast: string", "cast: date", "_syncs.yml: sync notes: fields.power_user.cast"),
        ("scope: {trait: power_user}", "scope: {trait: rich}", "sync notes: scope.trait: there is no trait 'rich'"),
        ("field: risk", "field: lifecycle_stage", "has the field 'lifecycle_stage', too"),
        ("mode: mirror", "mode: append", "_syncs.yml: sync notes: mode"),
        ("mode: mirror", "modus: mirror", "unknown key 'modus'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_file_sync_and_field(
    sample_home: Home, project_copy: Path, old: str, new: str, message: str
) -> None:
    assert old in ENTRY
    with pytest.raises(UsageError) as error:
        _ = declared(sample_home, project_copy, ENTRY.replace(old, new)).catalog
    assert message in error.value.message


def test_a_type_that_the_target_cannot_hold_is_refused(sample_home: Home, project_copy: Path, notepad: None) -> None:
    entry = ENTRY.replace(", cast: string", "")
    project = declared(sample_home, project_copy, entry)
    with pytest.raises(UsageError, match=r"fields\.power_user: notepad lines hold no boolean"):
        run_sync(sample_home, project.catalog, project.catalog.sync("notes"))
