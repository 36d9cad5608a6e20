"""What is Segment's own: who a call is about, events, ids of messages, limits, clearing, RudderStack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orchestration.declarations.syncs import Sync
from orchestration.destinations import ClosedError, FieldNote, Record, UnavailableError
from orchestration.destinations._pace import Pace
from orchestration.destinations.segment import SegmentDestination
from orchestration.errors import UsageError
from orchestration.sync.deliver import batches
from tests.faults.destinations import records_of
from tests.orchestration.destinations.standins import Answer, Request
from tests.orchestration.destinations.standins.segment import WRITE_KEY, SegmentStandIn

SINCE = datetime(2024, 6, 29)
NOTES = {
    "at_risk": FieldNote("at_risk", "At risk", "boolean", "growth", 3, since=SINCE),
    "stage": FieldNote("lifecycle_stage", "Stage", "category", "growth", 1, since=SINCE),
    "score": FieldNote("score", "Score", "number", "growth", 1, since=SINCE),
}


@pytest.fixture
def segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SegmentStandIn]:
    made = SegmentStandIn()
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    with made.running(tmp_path):
        yield made


def destination(sync: Sync, folder: Path) -> SegmentDestination:
    return SegmentDestination(sync, folder, Pace())


def record_of(fields: dict[str, Any], before: dict[str, Any] | None = None, **given: Any) -> Record:
    made = Record(
        sync="attacked",
        entity_type="user",
        entity_id="u1",
        identifier="u1",
        action="upsert",
        fields=fields,
        changed=before or dict.fromkeys(fields),
        reasons={"at_risk": "Silent for 9 days."},
        build_id="000007",
        as_of=datetime(2024, 6, 30),
        notes={name: NOTES[name] for name in fields},
    )
    return replace(made, **given)


def events(segment: SegmentStandIn) -> list[tuple[str, str, Any]]:
    return [(m["event"], m["properties"]["trait"], m["properties"]["value"]) for m in segment.of_type("track")]


def answering(segment: SegmentStandIn, answer: Answer) -> None:
    handle: Callable[[Request], Answer] = lambda request: answer  # noqa: E731
    segment.handle = handle  # type: ignore[method-assign]


def test_a_user_is_identified_by_what_changed_and_enters_and_leaves_values(
    segment: SegmentStandIn, tmp_path: Path
) -> None:
    first = record_of({"at_risk": True, "stage": "new", "score": 1.5})
    second = record_of(
        {"at_risk": False, "stage": "old", "score": 1.5}, {"at_risk": True, "stage": "new"}, after="then"
    )
    with closing(destination(segment.sync(), tmp_path)) as target:
        assert target.deliver([first]) == [None]
        assert target.deliver([second]) == [None]
    assert [m["traits"] for m in segment.of_type("identify")] == [first.fields, {"at_risk": False, "stage": "old"}]
    assert events(segment) == [
        ("Trait Entered", "at_risk", True),
        ("Trait Entered", "lifecycle_stage", "new"),
        ("Trait Left", "at_risk", True),
        ("Trait Left", "lifecycle_stage", "new"),
        ("Trait Entered", "lifecycle_stage", "old"),
    ]
    entered = segment.of_type("track")[0]
    assert (entered["userId"], entered["timestamp"]) == ("u1", "2024-06-29T00:00:00.000Z")
    assert entered["context"]["library"]["name"] == "traithouse"
    assert entered["properties"] == {
        "trait": "at_risk",
        "field": "at_risk",
        "value": True,
        "since": "2024-06-29T00:00:00.000Z",
        "reason": "Silent for 9 days.",
        "version": 3,
        "build_id": "000007",
    }
    assert not any("anonymousId" in message for message in segment.messages.values())
    assert segment.dropped == []


def test_a_repetition_has_the_same_message_ids_and_another_change_has_others(
    segment: SegmentStandIn, tmp_path: Path
) -> None:
    record = record_of({"at_risk": True, "stage": "new"})
    with closing(destination(segment.sync(), tmp_path)) as target:
        target.deliver([record])
        known = dict(segment.messages)
        target.deliver([replace(record, build_id="000008", as_of=datetime(2024, 7, 1))])
        assert segment.messages == known
        target.deliver([replace(record, after="2024-07-01 00:00:00")])
    assert len(segment.messages) == 2 * len(known) == 6
    assert all(name.startswith("traithouse-delivery-") and len(name) <= 100 for name in segment.messages)


def test_what_is_cleared_is_null_and_left(segment: SegmentStandIn, tmp_path: Path) -> None:
    record = record_of({"at_risk": True, "stage": "new", "score": 2.0})
    for action in ("clear", "delete"):
        cleared = replace(record, action=action, fields=dict.fromkeys(record.fields), changed=record.fields, after="a")
        with closing(destination(segment.sync(), tmp_path)) as target:
            target.deliver([record])
            target.deliver([cleared])
        assert segment.state() == {"u1": {}}
        assert segment.held() == {"u1": set()}


def test_after_a_change_in_doubt_every_boolean_is_told_as_it_is(segment: SegmentStandIn, tmp_path: Path) -> None:
    """The change in doubt may have told of an entry that nothing acknowledged: it has to be taken back."""
    record = record_of({"at_risk": False}, {"at_risk": False}, after="0" * 32)
    with closing(destination(segment.sync(), tmp_path)) as target:
        target.deliver([record])
    assert events(segment) == [("Trait Left", "at_risk", True)]


def test_accounts_are_groups_of_which_nobody_becomes_a_member(segment: SegmentStandIn, tmp_path: Path) -> None:
    record = record_of({"at_risk": True}, entity_type="account", entity_id="a1", identifier="a1")
    with closing(destination(segment.sync(entity="account"), tmp_path)) as target:
        assert target.deliver([record]) == [None]
    (group,), (track,) = segment.of_type("group"), segment.of_type("track")
    assert (group["groupId"], group["anonymousId"], group["traits"]) == ("a1", "traithouse", {"at_risk": True})
    assert (track["context"]["groupId"], track["anonymousId"]) == ("a1", "traithouse")
    assert "userId" not in group | track


def test_the_smallest_message_is_so_large_that_no_call_has_more_than_segment_keeps(
    segment: SegmentStandIn, tmp_path: Path
) -> None:
    with closing(destination(segment.sync(), tmp_path)) as target:
        (body,) = target.preview([record_of({}, identifier="1")])
    (message,) = body["batch"]
    assert 500_000 / len(json.dumps(message, separators=(",", ":"))) < 2_500


def test_no_call_has_more_messages_or_bytes_than_segment_takes(segment: SegmentStandIn, tmp_path: Path) -> None:
    fields = {f"trait_{number}": True for number in range(12)}
    notes = {name: FieldNote(name, name, "boolean", "growth", 1, since=SINCE) for name in fields}
    made = [
        replace(record, fields=fields, changed=dict.fromkeys(fields), notes=notes)
        for record in records_of(segment, numbers=range(150))
    ]
    with closing(destination(segment.sync(), tmp_path)) as target:
        parts = list(batches(target, made))
        assert len(parts) > 1
        for batch in parts:
            assert len(json.dumps(target.preview(batch)[0], separators=(",", ":"))) <= 500_000
            assert set(target.deliver(batch)) == {None}
    assert segment.dropped == []
    assert len(segment.messages) == 150 * 13


def test_too_large_a_message_fails_alone(segment: SegmentStandIn, tmp_path: Path) -> None:
    large = record_of({"stage": "x" * 32_000}, identifier="large")
    with closing(destination(segment.sync(), tmp_path)) as target:
        failure, taken = target.deliver([large, record_of({"stage": "new"})])
    assert failure is not None and failure.reason == "a message is larger than 32000 bytes"
    assert taken is None
    assert set(segment.state()) == {"u1"}


@pytest.mark.parametrize("body", [{"success": False}, {"success": 1}, {"success": True, "error": "x"}, [], b"OK", None])
def test_only_the_documented_body_acknowledges(segment: SegmentStandIn, tmp_path: Path, body: Any) -> None:
    answering(segment, Answer(200, body))
    with closing(destination(segment.sync(), tmp_path)) as target, pytest.raises(UnavailableError):
        target.deliver([record_of({"at_risk": True})])


@pytest.mark.parametrize(
    ("body", "is_taken"), [(b"OK", True), (b'"OK"', True), ({"success": True}, False), (b"", False)]
)
def test_rudderstack_acknowledges_by_ok(
    segment: SegmentStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Any, is_taken: bool
) -> None:
    monkeypatch.setenv("RUDDERSTACK_DATA_PLANE_URL", segment.url)
    answering(segment, Answer(200, body))
    with closing(destination(segment.sync(options={"service": "rudderstack"}), tmp_path)) as target:
        if is_taken:
            assert target.deliver([record_of({"at_risk": True})]) == [None]
        else:
            with pytest.raises(UnavailableError):
                target.deliver([record_of({"at_risk": True})])


def test_rudderstack_closes_on_a_wrong_write_key_and_its_address_is_a_secret(
    segment: SegmentStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment.rudderstack = True
    monkeypatch.setenv("SEGMENT_WRITE_KEY", "another-write-key")
    monkeypatch.setenv("RUDDERSTACK_DATA_PLANE_URL", segment.url)
    with closing(destination(segment.sync(options={"service": "rudderstack"}), tmp_path)) as target:
        with pytest.raises(ClosedError, match="answered 401"):
            target.deliver([record_of({"at_risk": True})])
        assert target.mask(f"{segment.url} another-write-key") == "*** ***"


def test_each_region_has_its_host_and_the_encoded_key_is_masked(segment: SegmentStandIn, tmp_path: Path) -> None:
    for options, host in (({}, "https://api.segment.io"), ({"region": "eu"}, "https://events.eu1.segmentapis.com")):
        with closing(destination(segment.sync(options=options), tmp_path)) as target:
            assert target.address() == host
            basic = target.headers()["authorization"].removeprefix("Basic ")
            assert target.mask(f"{basic} {WRITE_KEY}") == "*** ***"


def test_events_and_tools_behind_segment_can_be_left_out(segment: SegmentStandIn, tmp_path: Path) -> None:
    options = segment.declaration()["options"] | {"events": False, "integrations": {"All": False}}
    with closing(destination(segment.sync(options=options), tmp_path)) as target:
        target.deliver([record_of({"at_risk": True})])
    (message,) = segment.messages.values()
    assert (message["type"], message["integrations"]) == ("identify", {"All": False})


def test_another_identifier_field_is_a_mistake(segment: SegmentStandIn, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        destination(segment.sync(identifier_field="email"), tmp_path)
