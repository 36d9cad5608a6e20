"""What is Braze's own: deltas, errors by index, its ways to know a user, deletion, resets, plans with smaller calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.declarations.syncs import Sync
from orchestration.destinations import ClosedError, LimitedError, Record, RefusedError, UnavailableError
from orchestration.destinations._pace import Pace
from orchestration.destinations.braze import BrazeDestination
from orchestration.errors import UsageError
from orchestration.home import Home, Settings, silent
from orchestration.sync.deliver import deliver
from orchestration.sync.ledger import SyncLedger
from tests.faults.destinations import records_of
from tests.orchestration.destinations.standins import Answer, Fault, Request
from tests.orchestration.destinations.standins.braze import BrazeStandIn


@pytest.fixture
def braze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BrazeStandIn]:
    made = BrazeStandIn()
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    with made.running(tmp_path):
        yield made


def destination(sync: Sync, folder: Path) -> BrazeDestination:
    return BrazeDestination(sync, folder, Pace())


def records(braze: BrazeStandIn, count: int, **changed: Any) -> list[Record]:
    return [replace(record, **changed) for record in records_of(braze, numbers=range(count))]


def answering(braze: BrazeStandIn, answer: Answer) -> None:
    """Whatever is asked, this is answered, and nothing is kept."""
    handle: Callable[[Request], Answer] = lambda request: answer  # noqa: E731
    braze.handle = handle  # type: ignore[method-assign]


def test_only_what_changed_is_sent_and_billed(braze: BrazeStandIn, tmp_path: Path) -> None:
    (first,) = records(braze, 1)
    changed = replace(first, fields=first.fields | {"score": 9.5}, changed={"score": 0.0})
    with closing(destination(braze.sync(), tmp_path)) as target:
        assert target.deliver([first]) == [None]
        assert target.operations([first]) == braze.points == 3
        assert target.deliver([changed]) == [None]
        assert target.operations([changed]) == braze.points - 3 == 1
        assert target.operations([replace(first, action="delete")]) == 0
    assert braze.state() == {"e0000": changed.fields}


def test_errors_belong_to_the_users_at_their_index(braze: BrazeStandIn, tmp_path: Path) -> None:
    braze.poisoned = {"e0001", "e0003"}
    with closing(destination(braze.sync(), tmp_path)) as target:
        outcomes = target.deliver(records(braze, 5))
    assert [bool(failure) for failure in outcomes] == [False, True, False, True, False]
    assert outcomes[1] is not None
    assert not outcomes[1].again
    assert "disallowed" in outcomes[1].reason
    assert set(braze.state()) == {"e0000", "e0002", "e0004"}


def test_a_call_without_any_valid_object_says_why(braze: BrazeStandIn, tmp_path: Path) -> None:
    braze.poisoned = {"e0000"}
    with closing(destination(braze.sync(), tmp_path)) as target, pytest.raises(RefusedError, match="disallowed"):
        target.deliver(records(braze, 1))


@pytest.mark.parametrize("error", ["something is wrong", {"type": "odd", "input_array": "attributes", "index": 7}])
def test_an_error_that_names_no_user_refuses_the_batch(braze: BrazeStandIn, tmp_path: Path, error: Any) -> None:
    answering(braze, Answer(201, {"message": "success", "errors": [error]}))
    with closing(destination(braze.sync(), tmp_path)) as target, pytest.raises(RefusedError):
        target.deliver(records(braze, 2))


def test_what_braze_has_queued_is_acknowledged_and_an_answer_that_says_nothing_is_not(
    braze: BrazeStandIn, tmp_path: Path
) -> None:
    with closing(destination(braze.sync(), tmp_path)) as target:
        answering(braze, Answer(202, {"message": "queued"}))
        assert target.deliver(records(braze, 2)) == [None, None]
        answering(braze, Answer(200, {}))
        with pytest.raises(UnavailableError):
            target.deliver(records(braze, 2))


def test_an_unknown_key_ends_the_run(braze: BrazeStandIn, tmp_path: Path) -> None:
    answering(braze, Answer(404, {"message": "Unknown REST API key"}))
    with closing(destination(braze.sync(), tmp_path)) as target, pytest.raises(ClosedError):
        target.deliver(records(braze, 1))


@pytest.mark.parametrize(("ahead", "least", "most"), [(40, 38.0, 40.0), (-5, None, None)])
def test_a_limit_lasts_until_its_window_is_reset(
    braze: BrazeStandIn, tmp_path: Path, ahead: int, least: float | None, most: float | None
) -> None:
    braze.faults.append(Fault("answer", 429, {"x-ratelimit-reset": str(int(time.time()) + ahead)}))
    with closing(destination(braze.sync(), tmp_path)) as target, pytest.raises(LimitedError) as caught:
        target.deliver(records(braze, 1))
    seconds = caught.value.seconds
    assert seconds is None if least is None or most is None else seconds is not None and least <= seconds <= most


def test_more_than_fifty_are_deleted_in_several_calls(braze: BrazeStandIn, tmp_path: Path) -> None:
    written = records(braze, 75)
    gone = [replace(record, action="delete") for record in written[:70]]
    with closing(destination(braze.sync(), tmp_path)) as target:
        assert target.deliver(written) == [None] * 75
        left = [*gone, *written[70:]]
        for expected in (5, 50, 20):
            outcomes = target.deliver(left)
            assert outcomes.count(None) == expected
            left = [record for record, failure in zip(left, outcomes, strict=True) if failure and failure.again]
    assert left == []
    assert len(braze.state()) == 5
    assert braze.calls["POST /users/delete"] == 2


@pytest.mark.parametrize(
    ("identifier_field", "options"),
    [("email", {}), ("braze_id", {}), ("user_alias", {"alias_label": "warehouse"})],
)
def test_users_are_written_cleared_and_deleted_by_another_identifier(
    braze: BrazeStandIn, tmp_path: Path, identifier_field: str, options: dict[str, str]
) -> None:
    declared = braze.declaration()["options"] | options
    sync = braze.sync(identifier_field=identifier_field, options=declared)
    (first, second) = records(braze, 2)
    cleared = replace(first, action="clear", fields=dict.fromkeys(first.fields))
    with closing(destination(sync, tmp_path)) as target:
        assert target.deliver([first, second]) == [None, None]
        assert braze.state() == {"e0000": first.fields, "e0001": second.fields}
        assert target.deliver([cleared]) == [None]
        assert braze.state() == {"e0000": {}, "e0001": second.fields}
        assert target.deliver([replace(second, action="delete")]) == [None]
        assert target.deliver([replace(cleared, identifier="nobody")]) == [None]
    assert set(braze.state()) == {"e0000"}


def test_the_identifier_is_never_overwritten(braze: BrazeStandIn, tmp_path: Path) -> None:
    (record,) = records(braze, 1, fields={"external_id": "x", "stage": "new"}, changed={"external_id": 0, "stage": 0})
    with closing(destination(braze.sync(), tmp_path)) as target:
        assert target.deliver([record]) == [None]
    assert braze.state() == {"e0000": {"stage": "new"}}


@pytest.mark.parametrize("wrong", [{"identifier_field": "phone"}, {"identifier_field": "user_alias"}])
def test_an_identifier_that_braze_does_not_know_is_a_mistake(
    braze: BrazeStandIn, tmp_path: Path, wrong: dict[str, str]
) -> None:
    with pytest.raises(UsageError):
        destination(braze.sync(**wrong), tmp_path)


def test_a_dry_run_shows_the_bodies(braze: BrazeStandIn, tmp_path: Path) -> None:
    (first, second) = records(braze, 2)
    with closing(destination(braze.sync(), tmp_path)) as target:
        shown = target.preview([first, replace(second, action="delete")])
    assert shown == [
        {"path": "/users/track", "body": {"attributes": [first.fields | {"external_id": "e0000"}]}},
        {"path": "/users/delete", "body": {"external_ids": ["e0001"]}},
    ]


def test_a_plan_that_takes_fifty_a_call_is_served_too(braze: BrazeStandIn, tmp_path: Path) -> None:
    braze.most = 50
    home = Home(Settings(home=tmp_path / "home", env="production"))
    written = records(braze, 150)
    with closing(destination(braze.sync(), tmp_path)) as target, SyncLedger(home) as ledger:
        done = deliver(target, written, ledger, silent)
    assert (done.delivered, done.failed) == (150, 0)
    assert braze.calls["POST /users/track"] == 6
    assert braze.points == done.operations == 450
