"""What is Intercom's own: found late, found twice, archived, and companies that are never created to be emptied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestration.destinations import LimitedError, Outcomes, Record
from orchestration.destinations._pace import Pace
from orchestration.destinations.intercom import IntercomDestination
from orchestration.errors import UsageError
from tests.orchestration.destinations.standins import Fault
from tests.orchestration.destinations.standins.intercom import IntercomStandIn

BY_EMAIL = {"identifier": "email", "identifier_field": "email"}
ACCOUNTS = {"entity": "account", "object": "companies"}


@pytest.fixture
def intercom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IntercomStandIn]:
    made = IntercomStandIn()
    with made.running(tmp_path):
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        yield made


def record_of(identifier: str, action: Any = "upsert", **fields: Any) -> Record:
    return Record(
        sync="attacked",
        entity_type="user",
        entity_id=identifier,
        identifier=identifier,
        action=action,
        fields=fields,
        changed=dict.fromkeys(fields),
        reasons={},
        build_id="000001",
        as_of=datetime(2024, 6, 30),
    )


def delivered(intercom: IntercomStandIn, *records: Record, **given: Any) -> Outcomes:
    with closing(IntercomDestination(intercom.sync(**given), Path(), Pace())) as destination:
        return destination.deliver(records)


def lead(intercom: IntercomStandIn, email: str, role: str = "lead") -> str:
    ours = f"{role}{len(intercom.contacts)}"
    intercom.contacts[ours] = {
        "type": "contact",
        "id": ours,
        "role": role,
        "external_id": None,
        "email": email,
        "custom_attributes": {},
    }
    return ours


@pytest.mark.parametrize("names_id", [True, False])
def test_a_contact_that_no_search_finds_yet_is_updated_by_what_the_conflict_says(
    intercom: IntercomStandIn, names_id: bool
) -> None:
    assert delivered(intercom, record_of("a", stage="new")) == [None]
    (ours,) = intercom.contacts
    intercom.unsearchable = {ours}
    intercom.conflict_names_id = names_id
    outcomes = delivered(
        intercom, record_of("b", stage="new"), record_of("a", stage="active"), record_of("c", stage="new")
    )
    if names_id:
        assert outcomes == [None, None, None]
        assert intercom.state()["a"] == {"stage": "active"}
    else:
        # It goes through once the index has it.
        assert [bool(failure and failure.again) for failure in outcomes] == [False, True, False]
        intercom.unsearchable.clear()
        assert delivered(intercom, record_of("a", stage="active")) == [None]
        assert intercom.state()["a"] == {"stage": "active"}
    assert len(intercom.contacts) == 3


def test_who_was_just_created_is_deleted_though_no_search_finds_them(intercom: IntercomStandIn) -> None:
    delivered(intercom, record_of("a/b c", stage="new"), record_of("b", stage="new"))
    intercom.unsearchable = set(intercom.contacts)
    assert delivered(intercom, record_of("a/b c", "delete", stage=None), record_of("b", "clear", stage=None)) == [
        None,
        None,
    ]
    assert intercom.state() == {"b": {}}


def test_an_archived_contact_is_refused_and_left_alone(intercom: IntercomStandIn) -> None:
    delivered(intercom, record_of("a", stage="new"))
    intercom.archived = set(intercom.contacts)
    (failure,) = delivered(intercom, record_of("a", stage="active"))
    assert failure and not failure.again and "archived" in failure.reason
    assert intercom.state() == {"a": {"stage": "new"}}


def test_a_contact_that_vanishes_between_search_and_update_is_created(
    intercom: IntercomStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered(intercom, record_of("a", stage="new"))
    searched = IntercomStandIn.search

    def search_then_merge(self: IntercomStandIn, body: Any) -> Any:
        answer = searched(self, body)
        self.contacts.clear()
        return answer

    monkeypatch.setattr(IntercomStandIn, "search", search_then_merge)
    assert delivered(intercom, record_of("a", stage="active")) == [None]
    assert intercom.state() == {"a": {"stage": "active"}}


def test_an_email_finds_its_user_whatever_its_case_and_beside_a_lead(intercom: IntercomStandIn) -> None:
    lead(intercom, "ann@example.com")
    user = lead(intercom, "ann@example.com", "user")
    only_lead = lead(intercom, "bob@example.com")
    records = (record_of("Ann@Example.com", stage="new"), record_of("bob@example.com", stage="active"))
    assert delivered(intercom, *records, **BY_EMAIL) == [None, None]
    written = {ours: contact["custom_attributes"] for ours, contact in intercom.contacts.items()}
    assert written[user] == {"stage": "new"}
    assert written[only_lead] == {"stage": "active"}
    assert len(intercom.contacts) == 3


def test_an_email_of_several_users_is_refused_but_all_of_them_are_deleted(intercom: IntercomStandIn) -> None:
    for role in ("user", "user", "lead"):
        lead(intercom, "ann@example.com", role)
    (failure, went) = delivered(
        intercom, record_of("ann@example.com", stage="new"), record_of("bob@example.com", stage="new"), **BY_EMAIL
    )
    assert failure and not failure.again and "several" in failure.reason
    assert went is None
    assert delivered(intercom, record_of("ann@example.com", "delete", stage=None), **BY_EMAIL) == [None]
    assert set(intercom.state()) == {"bob@example.com"}


def test_every_page_of_a_search_is_read(intercom: IntercomStandIn) -> None:
    for _ in range(160):
        lead(intercom, "shared@example.com")
    user = lead(intercom, "shared@example.com", "user")
    assert delivered(intercom, record_of("shared@example.com", stage="new"), **BY_EMAIL) == [None]
    assert intercom.contacts[user]["custom_attributes"] == {"stage": "new"}


def test_clearing_or_deleting_nobody_creates_nobody(intercom: IntercomStandIn) -> None:
    records = (record_of("a", "clear", stage=None), record_of("b", "delete", stage=None))
    assert delivered(intercom, *records) == [None, None]
    assert delivered(intercom, *records, **ACCOUNTS) == [None, None]
    assert (intercom.contacts, intercom.companies) == ({}, {})


@pytest.mark.parametrize("listed", [True, False])
def test_companies_are_created_updated_cleared_and_archived(intercom: IntercomStandIn, listed: bool) -> None:
    intercom.lists_a_company = listed
    intercom.poisoned = {"bad"}
    records = [
        record_of("acme & co", stage="new", score=1.5),
        record_of("bad", stage="new"),
        record_of("umbrella", stage="new"),
    ]
    outcomes = delivered(intercom, *records, **ACCOUNTS)
    assert [failure and failure.reason for failure in outcomes] == [
        None,
        "answered 422: unprocessable_entity: The data was well-formed but invalid",
        None,
    ]
    delivered(intercom, record_of("acme & co", at_risk=True), record_of("umbrella", "clear", stage=None), **ACCOUNTS)
    assert intercom.state() == {"acme & co": {"stage": "new", "score": "1.5", "at_risk": "true"}, "umbrella": {}}
    delivered(intercom, record_of("acme & co", "delete", stage=None), **ACCOUNTS)
    assert set(intercom.state()) == {"umbrella"}


def test_an_attribute_that_is_not_declared_there_is_named(intercom: IntercomStandIn) -> None:
    (missing, wrong) = delivered(intercom, record_of("a", mood="good"), record_of("b", at_risk="yes"))
    assert missing and "Custom attribute 'mood' does not exist" in missing.reason
    assert wrong and "at_risk" in wrong.reason and not wrong.again


def test_whole_numbers_go_into_integer_attributes_as_integers(intercom: IntercomStandIn) -> None:
    assert delivered(intercom, record_of("a", seats=4.0)) == [None]
    assert intercom.state() == {"a": {"seats": 4}}


def test_a_pause_lasts_until_the_reset_by_the_clock_of_the_answer(intercom: IntercomStandIn) -> None:
    headers = {"x-ratelimit-reset": "1487332520", "date": "Fri, 17 Feb 2017 11:55:13 GMT"}
    intercom.faults.append(Fault("answer", 429, headers))
    with closing(IntercomDestination(intercom.sync(), Path(), Pace())) as destination:
        answer = httpx.Response(429, headers=headers)
        assert destination.seconds_to_wait(answer) == 7.0
        assert destination.seconds_to_wait(httpx.Response(429, headers={"retry-after": "3"})) == 3.0
        with pytest.raises(LimitedError):
            destination.deliver([record_of("a", stage="new")])
        assert destination.deliver([record_of("a", stage="new")]) == [None]


def test_what_it_is_known_by_is_checked(intercom: IntercomStandIn) -> None:
    with pytest.raises(UsageError, match="cannot find contacts by phone"):
        IntercomDestination(intercom.sync(identifier="phone", identifier_field="phone"), Path())


def test_a_preview_has_the_body_that_would_create(intercom: IntercomStandIn) -> None:
    with closing(IntercomDestination(intercom.sync(), Path())) as destination:
        assert destination.preview([record_of("a", score=2.5)]) == [
            {
                "action": "upsert",
                "identifier": "a",
                "body": {"role": "user", "external_id": "a", "custom_attributes": {"score": 2.5}},
            }
        ]
