"""Only changes are sent, and a row counts as sent when it was acknowledged."""

import json
from datetime import datetime
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from orchestration.declarations.base import parse
from orchestration.declarations.syncs import Sync
from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.pipeline.refresh import publish_build
from orchestration.publishing.publish import publish
from orchestration.sync import canary, deliver, engine
from orchestration.sync.engine import run_sync
from orchestration.sync.ledger import SyncLedger
from orchestration.transform.dbt import Project
from tests.builds import FLIP, FLIPPED, next_build
from tests.conftest import queried, served
from tests.orchestration.destinations.standins.intercom import IntercomStandIn
from tests.orchestration.sync.conftest import SECRET, Receiver, webhook


def delivered(home: Home, sync: str) -> list[dict[str, object]]:
    files = sorted((home.outbox / sync).glob("*.ndjson"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def production(home: Home) -> Home:
    return Home(home.settings.model_copy(update={"env": "production"}))


def flip_one(project: Project) -> None:
    next_build(project, FLIP)
    publish(project)


def test_the_first_sync_sends_all_and_the_second_nothing(sample_home: Home, sample_project: Project) -> None:
    outbox = sample_project.catalog.sync("outbox")
    first = run_sync(sample_home, sample_project.catalog, outbox)
    again = run_sync(sample_home, sample_project.catalog, outbox)
    assert (first.planned, first.delivered, again.planned) == (600, 600, 0)
    sent = {message["entity_id"]: message["traits"] for message in delivered(sample_home, "outbox")}
    published = served(sample_home, "select user_id, at_risk, power_user, lifecycle_stage from traits.user_traits")
    named = ("at_risk", "power_user", "lifecycle_stage")
    assert {u: tuple(traits[name] for name in named) for u, traits in sent.items()} == {
        u: tuple(rest) for u, *rest in published
    }


def test_only_changes_are_sent_with_what_they_were_and_why(sample_home: Home, sample_project: Project) -> None:
    outbox = sample_project.catalog.sync("outbox")
    run_sync(sample_home, sample_project.catalog, outbox)
    flip_one(sample_project)
    report = run_sync(sample_home, sample_project.catalog, outbox)
    assert report.delivered == 1
    message = delivered(sample_home, "outbox")[-1]
    [(user,)] = queried(sample_home, FLIPPED)
    [(reason,)] = served(
        sample_home,
        f"select reason from traits.trait_values where trait = 'ready_to_upgrade' and entity_id = '{user}'",
    )
    assert message["entity_id"] == user
    assert message["changed"] == {"ready_to_upgrade": {"from": True, "to": False, "reason": reason}}


def test_live_evidence_triggers_no_delivery(sample_home: Home, sample_project: Project) -> None:
    hook = webhook(destination="file", options={}, traits=("at_risk", "ready_to_upgrade"))
    run_sync(sample_home, sample_project.catalog, hook)
    published = """
        select entity_id, trait, value, evidence from traits.trait_values
        where trait in ('at_risk', 'ready_to_upgrade') order by all
    """
    before = served(sample_home, published)
    next_build(sample_project, FLIP, "update features.user_features set long_gap_days = long_gap_days + 0.1")
    publish(sample_project)
    pairs = [*zip(before, served(sample_home, published), strict=True)]
    assert sum(then[3] != now[3] for then, now in pairs) > 1
    flips = sum(then[2] != now[2] for then, now in pairs)
    assert run_sync(sample_home, sample_project.catalog, hook).planned == flips == 1


def test_a_trait_that_is_no_longer_published_is_cleared(sample_home: Home, sample_project: Project) -> None:
    catalog = sample_project.catalog
    run_sync(sample_home, catalog, catalog.sync("outbox"))
    smaller = catalog.model_copy(update={"traits": tuple(t for t in catalog.traits if t.name != "power_user")})
    sample_project = sample_project.replace(catalog=smaller)
    publish(sample_project)
    report = run_sync(sample_home, smaller, smaller.sync("outbox"))
    assert report.delivered == 600
    assert delivered(sample_home, "outbox")[-1]["traits"]["power_user"] is None  # type: ignore[index]
    assert run_sync(sample_home, smaller, smaller.sync("outbox")).planned == 0


def test_the_webhook_is_signed_and_a_row_is_sent_once(
    sample_home: Home, sample_project: Project, receiver: Receiver
) -> None:
    report = run_sync(production(sample_home), sample_project.catalog, webhook())
    assert (report.planned, report.delivered, report.failed) == (600, 600, 0)
    assert len(receiver.messages) == len(set(receiver.ids)) == 600
    assert receiver.messages[0]["type"] == "traits.changed"


def test_a_destination_that_is_down_loses_nothing_and_the_next_sync_delivers(
    sample_home: Home, sample_project: Project, receiver: Receiver
) -> None:
    home = production(sample_home)
    receiver.status = 503
    down = run_sync(home, sample_project.catalog, webhook())
    assert (down.planned, down.delivered, down.failed, down.not_tried) == (600, 0, 80, 520)
    assert down.error == "answered 503"
    with SyncLedger(home) as ledger:
        assert {row["kind"] for row in ledger.failure_rows()} == {"unanswered"}
        assert len(ledger.failure_rows()) == 80
    first_attempt = set(receiver.ids)
    receiver.status = 200
    up = run_sync(home, sample_project.catalog, webhook())
    assert (up.planned, up.delivered) == (600, 600)
    assert len(first_attempt) == 4
    assert set(receiver.ids) > first_attempt
    assert len(set(receiver.ids)) == 600
    with SyncLedger(home) as ledger:
        assert ledger.failure_rows() == []


def test_a_whole_batch_of_refused_records_does_not_hold_those_behind_it(
    sample_home: Home, sample_project: Project, receiver: Receiver
) -> None:
    receiver.refused = {f"user_{number:04d}" for number in range(20)}
    report = run_sync(production(sample_home), sample_project.catalog, webhook())
    assert (report.delivered, report.failed, report.not_tried, report.error) == (580, 20, 0, "answered 422")


def test_a_retry_in_a_later_build_has_the_same_webhook_id(
    sample_home: Home, sample_project: Project, receiver: Receiver
) -> None:
    home = production(sample_home)
    receiver.status = 503
    run_sync(home, sample_project.catalog, webhook())
    first = set(receiver.ids)
    flip_one(sample_project)
    run_sync(home, sample_project.catalog, webhook())
    assert set(receiver.ids) == first


def test_a_secret_in_a_broken_url_is_not_told(
    sample_home: Home, sample_project: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_URL", "http://127.0.0.1:s3cr3t/x")
    with pytest.raises(UsageError) as error:
        run_sync(production(sample_home), sample_project.catalog, webhook())
    assert "s3cr3t" not in str(error.value) + error.value.hint


def test_nobody_listening_is_a_failure_and_no_traceback(
    sample_home: Home, sample_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setenv("HOOK_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    report = run_sync(production(sample_home), sample_project.catalog, webhook())
    assert (report.delivered, report.error) == (0, "no answer: ConnectError")


def test_outside_production_a_remote_sync_is_a_dry_run(
    sample_home: Home, sample_project: Project, receiver: Receiver
) -> None:
    report = run_sync(sample_home, sample_project.catalog, webhook())
    assert report.dry_run
    assert report.planned == 600
    assert "TRAITHOUSE_ENV is development" in report.why_dry
    assert receiver.ids == []


def test_files_for_another_machine_are_written_in_production_only(sample_home: Home, sample_project: Project) -> None:
    fsspec.register_implementation("faraway", MemoryFileSystem, clobber=True)
    far = webhook(name="far", destination="file", options={"path": "faraway://bucket"})
    assert "remote destinations" in run_sync(sample_home, sample_project.catalog, far).why_dry
    assert [path for path in MemoryFileSystem.store if "faraway" in path] == []
    assert run_sync(production(sample_home), sample_project.catalog, far).delivered == 600
    (written,) = [path for path in MemoryFileSystem.store if "faraway" in path]
    del MemoryFileSystem.store[written]
    assert written.endswith(".ndjson")


def test_secrets_reach_no_file_of_the_home(sample_home: Home, sample_project: Project, receiver: Receiver) -> None:
    home = production(sample_home)
    receiver.status = 500
    report = run_sync(home, sample_project.catalog, webhook())
    key = SECRET.removeprefix("whsec_")
    assert key not in repr(report)
    for path in home.root.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path


def test_csv_has_a_column_a_trait(sample_home: Home, sample_project: Project) -> None:
    sheet = webhook(name="sheet", destination="file", options={"format": "csv"}, traits="all")
    run_sync(sample_home, sample_project.catalog, sheet)
    [path] = (sample_home.outbox / "sheet").glob("*.csv")
    lines = path.read_text().splitlines()
    assert lines[0].startswith("entity_type,entity_id,as_of,build_id,activated,at_risk,dormant,lifecycle_stage,")
    assert len(lines) == 601


@pytest.mark.long
def test_deliveries_are_published_next_to_the_traits(sample_home: Home, sample_project: Project) -> None:
    run_sync(sample_home, sample_project.catalog, sample_project.catalog.sync("outbox"))
    next_build(sample_project, FLIP)
    publish_build(sample_project)
    assert served(sample_home, "select sync, planned, delivered, failed from traits.sync_log") == [
        ("outbox", 600, 600, 0)
    ]


def test_before_anything_is_published_there_is_nothing_to_sync(home: Home, project: Project) -> None:
    with pytest.raises(UsageError, match="Nothing is published yet"):
        run_sync(home, project.catalog, project.catalog.sync("outbox"))


def test_a_canary_delivers_a_few_records_and_reads_them_back(
    sample_home: Home, sample_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = production(sample_home)
    target = IntercomStandIn()
    for name, value in target.environment().items():
        monkeypatch.setenv(name, value)
    target.attributes["lifecycle_stage"] = "string"
    with target.running(tmp_path):
        sync = target.sync(traits=("at_risk", "lifecycle_stage"))
        shown = run_sync(home, sample_project.catalog, sync, canary=3, dry_run=True)
        assert (len(shown.samples), target.contacts) == (3, {})
        first = run_sync(home, sample_project.catalog, sync, canary=3)
        assert (first.delivered, first.not_tried, first.error) == (3, 597, "")
        assert [(r.entity_id, r.there) for r in first.canary] == [(f"user_{n:04d}", "as sent") for n in range(3)]
        assert len(target.contacts) == 3
        written = target.written

        def forgetful(contact: dict[str, object], body: object, keys: set[str] | None = None) -> object:
            answer = written(contact, body, keys)
            contact["custom_attributes"] = {"at_risk": True}
            return answer

        monkeypatch.setattr(target, "written", forgetful)
        monkeypatch.setattr(canary, "WAITS", (0.0,))
        second = run_sync(home, sample_project.catalog, sync, canary=1)
        assert second.error == "1 of 1 records are not there as they were sent"
        assert "lifecycle_stage is None there" in second.canary[0].there
        monkeypatch.setattr(target, "written", written)
        rest = run_sync(home, sample_project.catalog, sync)
        assert (rest.delivered, rest.canary, len(target.contacts)) == (596, (), 600)


def test_a_sync_that_has_just_delivered_waits_and_loses_nothing(
    sample_home: Home, sample_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = sample_project.catalog
    sync = Sync.model_validate(catalog.sync("outbox").model_dump() | {"at_most_every": "2 hours"})
    now = datetime(2024, 7, 1, 12, 0)
    monkeypatch.setattr(engine, "utc_now", lambda: now)
    assert run_sync(sample_home, catalog, sync).delivered == 600
    flip_one(sample_project)
    now = datetime(2024, 7, 1, 13, 59)
    waiting = run_sync(sample_home, catalog, sync)
    assert (waiting.delivered, waiting.waits_until) == (0, "2024-07-01 14:00:00 UTC")
    assert run_sync(sample_home, catalog, sync, dry_run=True).planned == 1
    now = datetime(2024, 7, 1, 14, 0)
    assert run_sync(sample_home, catalog, sync).delivered == 1
    # A clock that was set back does not hold a sync for longer.
    flip_one(sample_project)
    now = datetime(2024, 7, 1, 9, 0)
    assert run_sync(sample_home, catalog, sync).waits_until == ""


def test_what_has_to_be_deleted_does_not_wait(
    sample_home: Home, sample_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = sample_project.catalog
    sync = Sync.model_validate(catalog.sync("outbox").model_dump() | {"at_most_every": "1 day"})
    run_sync(sample_home, catalog, sync)
    with SyncLedger(sample_home) as ledger:
        assert ledger.forget("user", ["user_0001"], ["outbox"]) == ["outbox"]
    assert run_sync(sample_home, catalog, sync).delivered == 1
    assert delivered(sample_home, "outbox")[-1]["forgotten"] is True


NEEDED = {"name", "description", "destination", "traits"}


@pytest.mark.parametrize("written", ["soon", "0 minutes", "-1 hours", "1.5 hours", "2 weeks", 30])
def test_a_length_of_time_that_cannot_be_read_says_how_to_write_it(written: object) -> None:
    with pytest.raises(UsageError, match="write it as 30 minutes, 2 hours or 1 day"):
        parse(Sync, webhook().model_dump(include=NEEDED) | {"at_most_every": written}, "syncs.yml")
