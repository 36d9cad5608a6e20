"""What only HubSpot does: partial answers, its limits, text for every type, and two ways to delete."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.destinations import ClosedError, Record
from orchestration.destinations._pace import Pace
from orchestration.destinations.hubspot import HubspotDestination
from orchestration.errors import UsageError
from orchestration.home import Home, Settings
from orchestration.sync import deliver as engine
from tests.faults.destinations import acknowledged, delivered, expected, records_of
from tests.orchestration.destinations.standins import Answer
from tests.orchestration.destinations.standins import hubspot as vendor
from tests.orchestration.destinations.standins.hubspot import HubspotStandIn, error_of

UPSERT = "POST /crm/v3/objects/contacts/batch/upsert"


@pytest.fixture
def hubspot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubspotStandIn]:
    made = HubspotStandIn()
    monkeypatch.setattr(engine, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setenv("HUBSPOT_TOKEN", vendor.TOKEN)
    with made.running(tmp_path):
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(Settings(home=tmp_path / "home", env="production"))


def changed(records: Sequence[Record], action: Any, **given: Any) -> list[Record]:
    return [replace(record, action=action, fields=dict.fromkeys(record.fields), **given) for record in records]


def test_a_partial_answer_is_one_call(hubspot: HubspotStandIn, home: Home) -> None:
    records = records_of(hubspot, numbers=range(100))
    hubspot.poisoned = {records[3].identifier, records[77].identifier}
    done = delivered(home, hubspot, records)
    assert (done.delivered, done.failed, hubspot.calls[UPSERT]) == (98, 2, 1)
    assert done.error.startswith("VALIDATION_ERROR: Email address")


@pytest.mark.parametrize("silent", ["names_input", "multi_status"])
def test_where_the_answer_does_not_name_the_bad_row_halving_finds_it(
    hubspot: HubspotStandIn, home: Home, silent: str
) -> None:
    setattr(hubspot, silent, False)
    records = records_of(hubspot, numbers=range(100))
    hubspot.poisoned = {records[42].identifier}
    done = delivered(home, hubspot, records)
    assert (done.delivered, done.failed) == (99, 1)
    assert acknowledged(home, hubspot) == set(expected(records)) - hubspot.poisoned
    assert "person42@example.com" in done.error


@pytest.mark.parametrize("category", ["CONFLICT", "OBJECT_NOT_FOUND"])
def test_a_row_in_conflict_or_gone_meanwhile_is_tried_again(hubspot: HubspotStandIn, home: Home, category: str) -> None:
    (record,) = records = records_of(hubspot, numbers=[0])
    conflict = error_of(category, "Contact 101")
    hubspot.prepared.append(
        vendor.partly([], [conflict | {"context": {"objectWriteTraceId": [record.record_id], "ids": ["101"]}}])
    )
    done = delivered(home, hubspot, records)
    assert (done.delivered, done.failed, done.retries) == (1, 0, 1)
    assert hubspot.state() == expected(records)


def test_an_answer_that_does_not_tell_of_every_row_acknowledges_none_of_them(
    hubspot: HubspotStandIn, home: Home
) -> None:
    records = records_of(hubspot, numbers=range(4))
    hubspot.prepared.append(Answer(200, {"status": "COMPLETE", "results": [{"id": "101"}]}))
    assert delivered(home, hubspot, records).delivered == 4
    assert hubspot.state() == expected(records)
    assert hubspot.calls[UPSERT] == 3


def test_a_property_that_nobody_made_ends_the_run_and_the_next_one_delivers(
    hubspot: HubspotStandIn, home: Home
) -> None:
    records = records_of(hubspot)
    del hubspot.types["score"]
    for by_input in (True, False):
        hubspot.multi_status = by_input
        done = delivered(home, hubspot, records)
        assert done.delivered == 0
        assert '"score" does not exist' in done.closed
        assert "nothing gets through" not in done.closed
    hubspot.types["score"] = "number"
    assert delivered(home, hubspot, records).delivered == len(records)


def test_the_daily_limit_closes_until_the_next_run(hubspot: HubspotStandIn, home: Home) -> None:
    limit = {"status": "error", "message": "You have reached your daily limit.", "policyName": "DAILY"}
    hubspot.prepared.extend([Answer(429, limit)] * 20)
    records = records_of(hubspot)
    done = delivered(home, hubspot, records)
    assert (done.delivered, done.retries) == (0, 0)
    assert done.closed == "answered 429: You have reached your daily limit."
    hubspot.prepared.clear()
    assert delivered(home, hubspot, records).delivered == len(records)


ROLLING = {
    "message": "You have reached your ten_secondly_rolling limit.",
    "policyName": "TEN_SECONDLY_ROLLING",
}


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Answer(429, ROLLING), 0.03),
        (Answer(429, ROLLING, {"X-HubSpot-RateLimit-Interval-Milliseconds": "40"}), 0.04),
        (Answer(423, {"message": "locked"}), 0.02),
        (Answer(477, None, {"Retry-After": "0.05"}), 0.05),
    ],
)
def test_a_pause_is_as_long_as_hubspot_asks(
    hubspot: HubspotStandIn, home: Home, monkeypatch: pytest.MonkeyPatch, answer: Answer, seconds: float
) -> None:
    monkeypatch.setattr(HubspotDestination, "lock_seconds", 0.02)
    monkeypatch.setattr(HubspotDestination, "window_seconds", 0.03)
    hubspot.prepared.append(answer)
    pace = Pace()
    with closing(HubspotDestination(hubspot.sync(), home.outbox, pace)) as destination:
        outcome = engine._attempt(destination, records_of(hubspot, numbers=[0]), pace.backoff)
    assert (outcome.retries, outcome.down) == (1, False)
    assert seconds * 0.9 <= pace.waited_seconds < seconds + 0.1


def test_a_migration_of_a_day_ends_the_run_without_waiting(hubspot: HubspotStandIn, home: Home) -> None:
    hubspot.prepared.append(Answer(477, None, {"Retry-After": "86400"}))
    done = delivered(home, hubspot, records_of(hubspot, numbers=range(3)))
    assert (done.delivered, done.failed, done.closed) == (0, 3, "")


def test_calls_keep_to_what_the_account_allows(
    hubspot: HubspotStandIn, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HubspotDestination, "window_seconds", 0.05)
    options = hubspot.declaration()["options"] | {"calls_in_ten_seconds": 1}
    with closing(HubspotDestination(hubspot.sync(options=options), home.outbox)) as destination:
        begun = time.monotonic()
        for record in records_of(hubspot, numbers=range(3)):
            destination.deliver([record])
        assert time.monotonic() - begun >= 0.1


def test_every_value_is_text(hubspot: HubspotStandIn, home: Home) -> None:
    (record,) = records_of(hubspot, numbers=[0])
    with closing(HubspotDestination(hubspot.sync(), home.outbox)) as destination:
        values = {"a": True, "b": False, "c": 3.0, "d": 0.00001, "e": -2.5, "f": None, "g": "é", "h": 1}
        (shown,) = destination.preview([replace(record, fields=values)])
    (sent,) = shown["body"]["inputs"]
    assert list(sent["properties"].values()) == ["true", "false", "3", "0.00001", "-2.5", "", "é", "1"]
    assert (sent["id"], sent["idProperty"]) == ("person0@example.com", "email")


def test_a_forgotten_contact_is_deleted_for_good_and_others_can_be_restored(
    hubspot: HubspotStandIn, home: Home
) -> None:
    records = records_of(hubspot, numbers=range(3))
    delivered(home, hubspot, records)
    gone = changed(records[:1], "delete", forgotten=True) + changed(records[1:2], "delete")
    assert delivered(home, hubspot, gone).delivered == 2
    assert {has["email"] for has in hubspot.contacts.values()} == {records[1].identifier, records[2].identifier}
    assert len(hubspot.archived) == 1
    assert hubspot.blocked == {records[0].identifier}


def test_by_another_property_a_forgotten_contact_is_looked_up_first(hubspot: HubspotStandIn, home: Home) -> None:
    sync = hubspot.sync(identifier="", identifier_field="external_key")
    records = [replace(record, identifier=record.entity_id) for record in records_of(hubspot, numbers=range(2))]
    gone = changed(records, "delete", forgotten=True)
    with closing(HubspotDestination(sync, home.outbox)) as destination:
        assert destination.deliver(records) == [None, None]
        assert destination.deliver(gone) == [None, None]
        assert hubspot.contacts == {}
        assert destination.deliver(gone) == [None, None]
        assert destination.operations(gone) == 4
    assert hubspot.calls["POST /crm/v3/objects/contacts/gdpr-delete"] == 2


def test_a_forgotten_company_is_archived(hubspot: HubspotStandIn, home: Home) -> None:
    sync = hubspot.sync(entity="account", identifier="")
    gone = changed(records_of(hubspot, numbers=[0]), "delete", forgotten=True)
    with closing(HubspotDestination(sync, home.outbox)) as destination:
        assert destination.preview(gone)[0]["call"] == "POST /crm/v3/objects/companies/batch/archive"


def test_clearing_does_not_bring_back_a_contact_that_was_deleted_there(hubspot: HubspotStandIn, home: Home) -> None:
    records = records_of(hubspot, numbers=range(2))
    delivered(home, hubspot, records)
    hubspot.archived = {"101"}
    assert delivered(home, hubspot, changed(records, "clear")).delivered == 2
    assert hubspot.state() == {records[1].identifier: {}}


def test_a_merged_contact_is_cleared_under_its_second_address(hubspot: HubspotStandIn, home: Home) -> None:
    records = records_of(hubspot, numbers=range(5))
    delivered(home, hubspot, records[:4])
    hubspot.merged = {records[4].identifier: "103"}
    assert delivered(home, hubspot, changed(records[3:], "clear")).delivered == 2
    assert [bool(fields) for fields in hubspot.state().values()] == [True, True, False, False]


def test_an_address_in_capitals_is_found_at_once(hubspot: HubspotStandIn, home: Home) -> None:
    records = [
        replace(record, identifier=record.identifier.upper()) for record in records_of(hubspot, numbers=range(4))
    ]
    delivered(home, hubspot, records)
    assert "person0@example.com" in hubspot.state()
    assert delivered(home, hubspot, changed(records, "clear")).delivered == 4
    assert not any(hubspot.state().values())
    assert hubspot.calls["POST /crm/v3/objects/contacts/batch/read"] == 1


def test_operations_are_calls(hubspot: HubspotStandIn, home: Home) -> None:
    records = records_of(hubspot)
    with closing(HubspotDestination(hubspot.sync(), home.outbox)) as destination:
        assert destination.operations(records) == 3
        assert destination.operations(changed(records[:101], "clear")) == 4
        assert destination.operations(changed(records[:5], "delete", forgotten=True)) == 5


def test_a_user_id_is_not_sent_as_an_email(hubspot: HubspotStandIn, home: Home) -> None:
    with pytest.raises(UsageError, match="is no email address"):
        HubspotDestination(hubspot.sync(identifier=""), home.outbox)


def test_a_wrong_token_closes(hubspot: HubspotStandIn, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBSPOT_TOKEN", "pat-of-somebody-else")
    with (
        closing(HubspotDestination(hubspot.sync(), home.outbox)) as destination,
        pytest.raises(ClosedError, match="401"),
    ):
        destination.deliver(records_of(hubspot, numbers=[0]))
