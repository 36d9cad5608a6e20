"""What is Klaviyo's own: jobs that are waited for, errors matched to profiles, unset, deletion jobs, sizes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.destinations import ClosedError, Record, RefusedError, UnavailableError
from orchestration.destinations._pace import Pace, Rate
from orchestration.destinations.klaviyo import KlaviyoDestination
from orchestration.errors import UsageError
from orchestration.home import Home, Settings, silent
from orchestration.sync.deliver import batches, deliver
from orchestration.sync.ledger import SyncLedger
from tests.faults.destinations import records_of
from tests.orchestration.destinations.standins import Answer, Fault, Request
from tests.orchestration.destinations.standins.klaviyo import JOBS, KlaviyoStandIn


@pytest.fixture
def klaviyo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KlaviyoStandIn]:
    made = KlaviyoStandIn()
    monkeypatch.setattr(KlaviyoDestination, "deletion_rates", ())
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    with made.running(tmp_path):
        yield made


def destination(klaviyo: KlaviyoStandIn, folder: Path, **given: Any) -> KlaviyoDestination:
    options = klaviyo.declaration()["options"] | given.pop("options", {})
    return KlaviyoDestination(klaviyo.sync(options=options, **given), folder, Pace())


def records(klaviyo: KlaviyoStandIn, count: int, **changed: Any) -> list[Record]:
    return [replace(record, **changed) for record in records_of(klaviyo, numbers=range(count))]


def instead(klaviyo: KlaviyoStandIn, when: Callable[[Request], bool], *answers: Answer) -> None:
    """The first calls of a kind are answered so, and nothing is done."""
    usual, left = klaviyo.handle, list(answers)
    handle: Callable[[Request], Answer] = lambda request: (  # noqa: E731
        left.pop(0) if left and when(request) else usual(request)
    )
    klaviyo.handle = handle  # type: ignore[method-assign]


def is_poll(request: Request) -> bool:
    return request.method == "GET" and request.path.startswith(JOBS) and not request.path.endswith("errors")


def test_a_null_removes_the_property_and_leaves_the_others(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    (record,) = records(klaviyo, 1)
    with closing(destination(klaviyo, tmp_path)) as target:
        assert target.deliver([record]) == [None]
        assert target.deliver([replace(record, fields=record.fields | {"stage": None})]) == [None]
    assert klaviyo.state() == {"e0000": {"at_risk": True, "score": 0.0}}


@pytest.mark.parametrize("payload", ["profile", "attributes", "pointer"])
def test_import_errors_are_matched_to_their_profiles_over_all_pages(
    klaviyo: KlaviyoStandIn, tmp_path: Path, payload: str
) -> None:
    made = records(klaviyo, 300)
    klaviyo.payload = payload
    klaviyo.poisoned = {record.identifier for record in made[::2]} - {"e0000"}
    with closing(destination(klaviyo, tmp_path)) as target:
        outcomes = target.deliver(made)
    refused = {
        record.identifier for record, failure in zip(made, outcomes, strict=True) if failure and not failure.again
    }
    assert refused == klaviyo.poisoned
    assert set(klaviyo.state()) == {record.identifier for record in made} - refused
    assert klaviyo.calls[f"GET {JOBS}/job1/import-errors"] == 2


def test_an_import_error_that_names_no_profile_refuses_the_batch(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    klaviyo.payload = "nothing"
    klaviyo.poisoned = {"e0001"}
    with closing(destination(klaviyo, tmp_path)) as target, pytest.raises(RefusedError, match="not valid"):
        target.deliver(records(klaviyo, 3))


def test_profiles_that_failed_without_an_error_refuse_the_batch(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    klaviyo.poisoned = {"e0001"}
    instead(klaviyo, lambda request: request.path.endswith("import-errors"), Answer(200, {"data": []}))
    with closing(destination(klaviyo, tmp_path)) as target, pytest.raises(RefusedError, match="1 profiles failed"):
        target.deliver(records(klaviyo, 3))


def test_what_a_job_is_not_made_for_is_refused_and_the_others_go_again(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    made = [replace(record, identifier=f"+4912345678{number}") for number, record in enumerate(records(klaviyo, 9))]
    made[4] = replace(made[4], identifier="012345")
    home = Home(Settings(home=tmp_path / "home", env="production"))
    with (
        closing(destination(klaviyo, tmp_path, identifier_field="phone_number")) as target,
        SyncLedger(home) as ledger,
    ):
        done = deliver(target, made, ledger, silent, sleep=lambda seconds: None)
    assert (done.delivered, done.failed, done.error) == (8, 1, "The phone number is not valid.")
    assert klaviyo.calls[f"POST {JOBS}"] == 2
    assert set(klaviyo.state()) == {record.identifier for record in made} - {"012345"}


@pytest.mark.parametrize("answer", [Answer(503), Answer(429, None, {"retry-after": "0.01"}), Answer(200, "odd")])
def test_a_job_is_waited_for_though_an_answer_is_missed(
    klaviyo: KlaviyoStandIn, tmp_path: Path, answer: Answer
) -> None:
    instead(klaviyo, is_poll, answer)
    with closing(destination(klaviyo, tmp_path)) as target:
        assert target.deliver(records(klaviyo, 2)) == [None, None]
    assert klaviyo.calls[f"POST {JOBS}"] == 1


def test_a_job_that_does_not_end_is_left_to_the_next_run(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    klaviyo.stuck = "processing"
    home = Home(Settings(home=tmp_path / "home", env="production"))
    with (
        closing(destination(klaviyo, tmp_path, options={"job_minutes": 0.001})) as target,
        SyncLedger(home) as ledger,
    ):
        done = deliver(target, records(klaviyo, 2), ledger, silent)
        assert set(ledger.in_doubt("attacked")) == {"e0000", "e0001"}
    assert (done.delivered, done.failed, done.retries) == (0, 2, 0)
    assert "job1 is processing" in done.error


def test_a_cancelled_job_leaves_the_batch_in_doubt(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    klaviyo.stuck = "cancelled"
    with closing(destination(klaviyo, tmp_path)) as target, pytest.raises(UnavailableError, match="cancelled"):
        target.deliver(records(klaviyo, 2))


@pytest.mark.parametrize("status", [404, 410, 415])
def test_a_revision_that_is_no_longer_served_ends_the_run(klaviyo: KlaviyoStandIn, tmp_path: Path, status: int) -> None:
    instead(klaviyo, lambda request: request.method == "POST", Answer(status))
    with closing(destination(klaviyo, tmp_path)) as target, pytest.raises(ClosedError):
        target.deliver(records(klaviyo, 2))


@pytest.mark.parametrize("identifier_field", ["external_id", "email", "phone_number"])
def test_profiles_are_deleted_whatever_they_are_known_by(
    klaviyo: KlaviyoStandIn, tmp_path: Path, identifier_field: str
) -> None:
    names = {"external_id": 'a "quoted" {}', "email": "person{}@example.com", "phone_number": "+491234567{}"}
    made = [
        replace(record, identifier=names[identifier_field].replace("{}", str(number)))
        for number, record in enumerate(records(klaviyo, 4))
    ]
    gone = [replace(record, action="delete") for record in made[:3]]
    with closing(destination(klaviyo, tmp_path, identifier_field=identifier_field)) as target:
        assert target.deliver(made) == [None] * 4
        assert target.deliver(gone) == [None] * 3
        assert set(klaviyo.state()) == {made[3].identifier}
        assert target.deliver(gone) == [None] * 3


def test_deletions_go_in_parts_and_after_the_writes(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    made = records(klaviyo, 60)
    with closing(destination(klaviyo, tmp_path)) as target:
        target.deliver(made)
        left = [*(replace(record, action="delete") for record in made[:55]), *made[55:]]
        for expected in (5, 50, 5):
            outcomes = target.deliver(left)
            assert outcomes.count(None) == expected
            left = [record for record, failure in zip(left, outcomes, strict=True) if failure and failure.again]
    assert set(klaviyo.state()) == {record.identifier for record in made[55:]}


def test_a_deletion_that_was_taken_is_not_asked_for_again(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    made = records(klaviyo, 3)
    gone = [replace(record, action="delete") for record in made]
    with closing(destination(klaviyo, tmp_path)) as target:
        target.deliver(made)
        instead(
            klaviyo, lambda request: request.path.endswith("deletion-jobs") and len(klaviyo.profiles) < 3, Answer(503)
        )
        outcomes = target.deliver(gone)
        assert [failure is not None and failure.again for failure in outcomes] == [False, True, True]
        assert target.deliver(gone[1:]) == [None, None]
    assert klaviyo.state() == {}


def test_the_first_deletion_that_gets_no_answer_leaves_the_batch_to_be_tried_again(
    klaviyo: KlaviyoStandIn, tmp_path: Path
) -> None:
    klaviyo.faults.append(Fault("answer", 503))
    (record,) = records(klaviyo, 1, action="delete", identifier="person@example.com")
    with closing(destination(klaviyo, tmp_path, identifier_field="email")) as target, pytest.raises(UnavailableError):
        target.deliver([record])


def test_a_profile_that_is_too_large_is_not_sent(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    made = records(klaviyo, 3)
    made[1] = replace(made[1], fields={"stage": "x" * 100_000})
    with closing(destination(klaviyo, tmp_path)) as target:
        outcomes = target.deliver(made)
        assert [failure and failure.reason for failure in outcomes] == [
            None,
            "the profile is larger than 100000 bytes",
            None,
        ]
        assert target.deliver(made[1:2]) == outcomes[1:2]
    assert set(klaviyo.state()) == {"e0000", "e0002"}
    assert klaviyo.calls[f"POST {JOBS}"] == 1


@pytest.mark.parametrize("filling", ["x", "é", '"', "\N{GRINNING FACE}"])
def test_no_job_is_larger_than_it_may_be(klaviyo: KlaviyoStandIn, tmp_path: Path, filling: str) -> None:
    made = [
        replace(record, fields={"stage": filling * 8_000, "score": None}, identifier=f"e{number}")
        for number, record in enumerate(records(klaviyo, 10) * 150)
    ]
    with closing(destination(klaviyo, tmp_path)) as target:
        parts = list(batches(target, made))
        sizes = [
            len(json.dumps(target.preview(part)[0]["body"], ensure_ascii=False, separators=(",", ":")).encode())
            for part in parts
        ]
    assert max(sizes) <= 5_000_000
    assert len(parts) > 1


def test_the_key_follows_no_link_to_another_host(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    elsewhere = {"data": [], "links": {"next": "https://example.com/steal?page%5Bcursor%5D=0"}}
    instead(klaviyo, lambda request: request.path.endswith("import-errors"), Answer(200, elsewhere))
    with closing(destination(klaviyo, tmp_path)) as target:
        assert target.deliver(records(klaviyo, 2)) == [None, None]
    assert klaviyo.calls[f"GET {JOBS}/job1/import-errors"] == 2


def test_an_identifier_that_klaviyo_does_not_know_is_a_mistake(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        destination(klaviyo, tmp_path, identifier_field="id")


def test_a_dry_run_shows_the_bodies(klaviyo: KlaviyoStandIn, tmp_path: Path) -> None:
    (first, second) = records(klaviyo, 2)
    with closing(destination(klaviyo, tmp_path)) as target:
        job, deletion = target.preview([first, replace(second, action="delete")])
    assert job["body"]["data"]["attributes"]["profiles"]["data"] == [
        {"type": "profile", "attributes": {"external_id": "e0000", "properties": first.fields}}
    ]
    assert deletion["body"]["data"]["attributes"]["profile"]["data"] == {
        "type": "profile",
        "id": "(the id of e0001)",
        "attributes": {},
    }
    assert klaviyo.calls == {}


def test_deletions_are_slower_than_the_other_calls(
    klaviyo: KlaviyoStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KlaviyoDestination, "deletion_rates", (Rate(1, 0.05),))
    gone = [
        replace(record, identifier=f"person{number}@example.com", action="delete")
        for number, record in enumerate(records(klaviyo, 3))
    ]
    with closing(destination(klaviyo, tmp_path, identifier_field="email")) as target:
        begun = time.monotonic()
        assert target.deliver(gone) == [None] * 3
    assert time.monotonic() - begun >= 0.1
