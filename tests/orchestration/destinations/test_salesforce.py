"""What only Salesforce does: jobs for many records, its allowance, tokens, and records that are looked up first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestration.destinations import ClosedError, Failure, Record
from orchestration.destinations._pace import Pace
from orchestration.destinations.salesforce import SalesforceDestination
from orchestration.errors import UsageError
from orchestration.home import Home, Settings, silent
from orchestration.sync import deliver as engine
from orchestration.sync.deliver import Delivery, deliver
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.validate import destination_of
from tests.faults.destinations import acknowledged, delivered, expected, records_of
from tests.orchestration.destinations.standins import Answer, Fault, Request
from tests.orchestration.destinations.standins.salesforce import KEY, ROOT, SalesforceStandIn, failed, refused

COLLECTION = f"PATCH {ROOT}composite/sobjects/Contact/{KEY}"
JOBS = f"POST {ROOT}jobs/ingest"


@pytest.fixture
def salesforce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SalesforceStandIn]:
    made = SalesforceStandIn()
    monkeypatch.setattr(engine, "FIRST_BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(SalesforceDestination, "first_poll_seconds", 0.001)
    monkeypatch.setattr(SalesforceDestination, "bulk_size", 250)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    with made.running(tmp_path):
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(Settings(home=tmp_path / "home", env="production"))


def made_for(salesforce: SalesforceStandIn, home: Home, **options: Any) -> SalesforceDestination:
    declared = salesforce.declaration()["options"] | options
    return SalesforceDestination(salesforce.sync(options=declared), home.outbox, Pace())


def in_jobs(salesforce: SalesforceStandIn, home: Home, records: Sequence[Record]) -> Delivery:
    """Delivers through Bulk API."""
    with SyncLedger(home) as ledger, closing(made_for(salesforce, home, bulk_from=201)) as destination:
        return deliver(destination, records, ledger, silent)


def changed(records: Sequence[Record], action: Any, **given: Any) -> list[Record]:
    return [replace(record, action=action, fields=dict.fromkeys(record.fields), **given) for record in records]


def test_many_records_go_in_jobs_and_the_few_that_are_left_in_a_call(salesforce: SalesforceStandIn, home: Home) -> None:
    for version in (0, 1):
        records = records_of(salesforce, version, numbers=range(600))
        assert in_jobs(salesforce, home, records).delivered == 600
        assert salesforce.state() == expected(records)
    assert (salesforce.calls[JOBS], salesforce.calls[COLLECTION]) == (4, 2)
    assert all(job.state == "JobComplete" for job in salesforce.jobs.values())


def test_fewer_records_than_bulk_from_make_no_job(salesforce: SalesforceStandIn, home: Home) -> None:
    assert delivered(home, salesforce, records_of(salesforce, numbers=range(450))).delivered == 450
    assert (salesforce.calls[JOBS], salesforce.calls[COLLECTION]) == (0, 3)


def test_a_jobs_failures_belong_to_their_rows(salesforce: SalesforceStandIn, home: Home) -> None:
    records = records_of(salesforce, numbers=range(250))
    salesforce.poisoned, salesforce.locked = {"e0007", "e0240"}, {"e0011", "e0249"}
    done = in_jobs(salesforce, home, records)
    assert (done.delivered, done.failed, done.retries) == (248, 2, 1)
    assert acknowledged(home, salesforce) == set(expected(records)) - salesforce.poisoned
    assert done.error == "FIELD_CUSTOM_VALIDATION_EXCEPTION: no trait for this one:--"
    assert salesforce.calls[JOBS] == 1


def test_a_job_empties_leaves_and_quotes_fields(salesforce: SalesforceStandIn, home: Home) -> None:
    records = records_of(salesforce, numbers=range(250))
    in_jobs(salesforce, home, records)
    odd: list[dict[str, Any]] = [
        {"stage__c": None, "score__c": None, "at_risk__c": None},
        {"stage__c": ""},
        {"score__c": 1.5},
        {"stage__c": 'two\nlines, "quoted"\r\n, and é', "at_risk__c": False},
    ]
    records[:4] = [replace(record, fields=fields) for record, fields in zip(records[:4], odd, strict=True)]
    assert in_jobs(salesforce, home, records).delivered == 250
    first = records_of(salesforce, numbers=range(4))
    state = salesforce.state()
    assert records[0].identifier not in state
    assert state["e0001"] == {name: value for name, value in first[1].fields.items() if name != "stage__c"}
    assert state["e0002"] == first[2].fields | odd[2]
    assert state["e0003"] == first[3].fields | odd[3]


def test_what_a_failed_job_did_counts_and_the_rest_is_tried_again(salesforce: SalesforceStandIn, home: Home) -> None:
    records = records_of(salesforce, numbers=range(250))
    salesforce.processed = 100
    done = in_jobs(salesforce, home, records)
    assert (done.delivered, done.retries) == (250, 1)
    assert (salesforce.calls[JOBS], salesforce.calls[COLLECTION]) == (1, 1)
    assert [len(identifiers) for identifiers in salesforce.writes] == [100, 150]


def test_a_job_that_takes_too_long_is_aborted_and_tried_again(
    salesforce: SalesforceStandIn, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SalesforceDestination, "bulk_patience_seconds", 0.005)
    salesforce.polls = 1_000_000
    records = records_of(salesforce, numbers=range(250))
    done = in_jobs(salesforce, home, records)
    assert done.delivered == 0
    assert {job.state for job in salesforce.jobs.values()} == {"Aborted"}
    salesforce.polls = 1
    assert in_jobs(salesforce, home, records).delivered == 250
    assert salesforce.state() == expected(records)


@pytest.mark.parametrize("kind", ["lost", "reset", "answer"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_job_that_could_not_be_begun_does_not_run_late(
    salesforce: SalesforceStandIn, home: Home, monkeypatch: pytest.MonkeyPatch, method: str, kind: str
) -> None:
    def is_write(request: Request) -> bool:
        return request.method == method and "jobs" in request.path

    monkeypatch.setattr(salesforce, "is_write", is_write)
    salesforce.faults.append(Fault(kind, 503))
    records = records_of(salesforce, numbers=range(250))
    done = in_jobs(salesforce, home, records)
    assert (done.delivered, done.retries) == (250, 1)
    assert salesforce.state() == expected(records)
    states = [job.state for job in salesforce.jobs.values()]
    assert states[-1] == "JobComplete"
    # One whose creation got no answer has no id to abort it by; it has no data, either.
    assert all(job.state == "Aborted" or not job.text for job in list(salesforce.jobs.values())[:-1])


def test_a_job_is_not_done_again_because_asking_after_it_failed(
    salesforce: SalesforceStandIn, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salesforce, "is_write", lambda request: request.method == "GET")
    salesforce.faults.extend([Fault("answer", 500), Fault("reset"), Fault("answer", 429)])
    assert in_jobs(salesforce, home, records_of(salesforce, numbers=range(250))).delivered == 250
    assert salesforce.calls[JOBS] == 1


@pytest.mark.parametrize("number", [3, 250])
def test_a_field_that_is_not_there_ends_the_run_at_once(salesforce: SalesforceStandIn, home: Home, number: int) -> None:
    records = [
        replace(record, fields=record.fields | {"nobody_made__c": "x"})
        for record in records_of(salesforce, numbers=range(number))
    ]
    done = in_jobs(salesforce, home, records)
    assert (done.delivered, done.retries) == (0, 0)
    assert "nobody_made__c" in done.closed
    assert salesforce.calls[JOBS] + salesforce.calls[COLLECTION] == 1


def test_the_allowance_of_a_day_closes_and_too_many_calls_at_once_do_not(
    salesforce: SalesforceStandIn, home: Home
) -> None:
    records = records_of(salesforce, numbers=range(3))
    salesforce.prepared.append(failed(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."))
    done = delivered(home, salesforce, records)
    assert (done.delivered, done.retries) == (0, 0)
    assert done.closed == "answered 403: REQUEST_LIMIT_EXCEEDED: TotalRequests Limit exceeded."
    busy = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
    salesforce.prepared.append(failed(403, "REQUEST_LIMIT_EXCEEDED", busy))
    done = delivered(home, salesforce, records)
    assert (done.delivered, done.retries) == (3, 1)


def test_rows_fail_by_their_place_and_a_locked_one_is_tried_again(salesforce: SalesforceStandIn, home: Home) -> None:
    records = records_of(salesforce, numbers=range(100))
    salesforce.poisoned, salesforce.locked = {"e0050"}, {"e0051"}
    done = delivered(home, salesforce, records)
    assert (done.delivered, done.failed, salesforce.calls[COLLECTION]) == (99, 1, 2)
    assert salesforce.writes[1] == ["e0051"]


def test_a_short_answer_acknowledges_nothing(salesforce: SalesforceStandIn, home: Home) -> None:
    salesforce.prepared.append(Answer(200, [{"id": "003", "success": True, "errors": []}]))
    records = records_of(salesforce, numbers=range(3))
    done = delivered(home, salesforce, records)
    assert (done.delivered, done.retries) == (3, 1)
    assert salesforce.state() == expected(records)


def test_a_contact_that_is_not_there_needs_more_than_traits(salesforce: SalesforceStandIn, home: Home) -> None:
    (record,) = records_of(salesforce, numbers=[1])
    done = delivered(home, salesforce, [replace(record, identifier="nobody")])
    assert done.error == "REQUIRED_FIELD_MISSING: Required fields are missing: [LastName]"


def test_clearing_does_not_bring_back_a_contact_that_was_deleted_there(
    salesforce: SalesforceStandIn, home: Home
) -> None:
    records = records_of(salesforce, numbers=range(3))
    delivered(home, salesforce, records)
    before = salesforce.calls[COLLECTION]
    del salesforce.contacts["003000000000001AAA"]
    assert delivered(home, salesforce, changed(records, "clear")).delivered == 3
    assert salesforce.state() == {}
    assert salesforce.calls[COLLECTION] == before


def test_a_contact_that_goes_between_looking_and_deleting_counts_as_deleted(
    salesforce: SalesforceStandIn, home: Home
) -> None:
    gone = changed(records_of(salesforce, numbers=[5]), "delete")
    with closing(made_for(salesforce, home)) as destination:
        found = destination._find(gone)
        salesforce.contacts.clear()
        answer = destination.call(
            "DELETE", f"{ROOT}composite/sobjects", success=(200,), params={"ids": found[0].record_id}
        )
        assert answer.json()[0]["errors"][0]["statusCode"] == "ENTITY_IS_DELETED"
        assert destination._outcomes(answer, ["e0005"]) == {"e0005": None}


def test_identifiers_are_found_as_they_are_spelt_or_in_other_letters(salesforce: SalesforceStandIn, home: Home) -> None:
    odd = ["O'Hara\\", "ada@example.inc", "') OR (Id != '", "Q" * 255, "CAPITALS"]
    for number, key in enumerate(odd):
        salesforce.contacts[f"003000000000{number:03d}AAA"][KEY] = "capitals" if key == "CAPITALS" else key
    (record,) = records_of(salesforce, numbers=[0])
    many = [replace(record, identifier=identifier) for identifier in odd] + records_of(
        salesforce, numbers=range(10, 150)
    )
    with closing(made_for(salesforce, home)) as destination:
        assert destination.deliver(changed(many, "delete", forgotten=True)) == [None] * len(many)
    assert len(salesforce.contacts) == 1000 - len(many)


def test_a_long_list_of_identifiers_is_asked_for_in_parts(salesforce: SalesforceStandIn, home: Home) -> None:
    (record,) = records_of(salesforce, numbers=[0])
    many = [replace(record, identifier=f"é{number}" * 20) for number in range(200)]
    with closing(made_for(salesforce, home)) as destination:
        assert destination._find(many) == []
    assert 3 <= salesforce.calls[f"GET {ROOT}query"] <= 8


def test_two_contacts_of_one_external_id_are_both_deleted(salesforce: SalesforceStandIn, home: Home) -> None:
    salesforce.contacts["003000000000002AAA"][KEY] = "e0001"
    gone = changed(records_of(salesforce, numbers=[1]), "delete")
    assert delivered(home, salesforce, gone).delivered == 1
    assert len(salesforce.contacts) == 998


def test_of_two_contacts_of_one_external_id_the_one_that_failed_is_told(
    salesforce: SalesforceStandIn, home: Home
) -> None:
    went, locked = {"id": "003000000000005AAA", "success": True, "errors": []}, refused("UNABLE_TO_LOCK_ROW", "locked")
    with closing(made_for(salesforce, home)) as destination:
        for results in ([went, locked], [locked, went]):
            outcomes = destination._outcomes(httpx.Response(200, json=results), ["e0001", "e0001"])
            assert outcomes == {"e0001": Failure("UNABLE_TO_LOCK_ROW: locked", again=True)}


def test_operations_are_calls(salesforce: SalesforceStandIn, home: Home) -> None:
    records = records_of(salesforce, numbers=range(700))
    with closing(made_for(salesforce, home)) as destination:
        assert destination.operations(records) == 4
        assert destination.operations(changed(records[:201], "clear")) == 4
    with closing(made_for(salesforce, home, bulk_from=500)) as destination:
        assert destination.operations(records) == 24


def test_a_wrong_secret_closes_and_is_not_told(
    salesforce: SalesforceStandIn, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALESFORCE_CLIENT_SECRET", "another secret")
    with closing(made_for(salesforce, home)) as destination:
        with pytest.raises(ClosedError, match="no token: answered 400: invalid_client") as caught:
            destination.deliver(records_of(salesforce, numbers=[0]))
        assert "another" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 202, 302, 400, 401, 418])
@pytest.mark.parametrize("said", [{"error": "no %s"}, {"error": ["%s"]}, ["%s"], {"access_token": 7, "x": "%s"}, "%s"])
def test_nothing_that_the_token_service_says_is_quoted(
    salesforce: SalesforceStandIn, home: Home, status: int, said: object
) -> None:
    body = json.loads(json.dumps(said).replace("%s", "pr1vate"))
    salesforce.sign_in = lambda request, kind: Answer(status, body)  # type: ignore[method-assign]
    with closing(made_for(salesforce, home)) as destination:
        with pytest.raises(ClosedError, match=f"no token: answered {status}: the answer has no token") as caught:
            destination.deliver(records_of(salesforce, numbers=[0]))
        assert "pr1vate" not in str(caught.value)


def test_the_token_service_may_be_down_for_a_while(salesforce: SalesforceStandIn, home: Home) -> None:
    signing_in = salesforce.sign_in
    answers = [Answer(503)]
    salesforce.sign_in = lambda request, kind: answers.pop() if answers else signing_in(request, kind)  # type: ignore[method-assign]
    done = delivered(home, salesforce, records_of(salesforce, numbers=[0]))
    assert (done.delivered, done.retries) == (1, 1)


def test_the_address_of_the_organisation_has_to_be_said(salesforce: SalesforceStandIn) -> None:
    with pytest.raises(UsageError, match=r"options\.base_url"):
        destination_of(salesforce.sync(options={}))


def test_workers_ask_for_one_token_between_them(salesforce: SalesforceStandIn, home: Home) -> None:
    salesforce.latency_seconds = 0.02
    assert delivered(home, salesforce, records_of(salesforce, numbers=range(800))).delivered == 800
    assert salesforce.calls["POST /services/oauth2/token"] == 1
