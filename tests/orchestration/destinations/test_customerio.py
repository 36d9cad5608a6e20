"""What is Customer.io's own: 207 by batch_index, sizes, people and objects, regions, empty strings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.declarations.syncs import Sync
from orchestration.destinations import Record, RefusedError, UnavailableError
from orchestration.destinations._pace import Pace
from orchestration.destinations.customerio import CustomerioDestination
from orchestration.errors import UsageError
from orchestration.sync.deliver import batches
from tests.faults.destinations import records_of
from tests.orchestration.destinations.standins import Answer, Request
from tests.orchestration.destinations.standins.customerio import CustomerioStandIn


@pytest.fixture
def customerio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerioStandIn]:
    made = CustomerioStandIn()
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    with made.running(tmp_path):
        yield made


def destination(sync: Sync, folder: Path) -> CustomerioDestination:
    return CustomerioDestination(sync, folder, Pace())


def records(customerio: CustomerioStandIn, count: int, **changed: Any) -> list[Record]:
    return [replace(record, **changed) for record in records_of(customerio, numbers=range(count))]


def answering(customerio: CustomerioStandIn, answer: Answer) -> None:
    """Whatever is asked, this is answered, and nothing is kept."""
    handle: Callable[[Request], Answer] = lambda request: answer  # noqa: E731
    customerio.handle = handle  # type: ignore[method-assign]


def test_errors_belong_to_the_operations_at_their_index(customerio: CustomerioStandIn, tmp_path: Path) -> None:
    made = records(customerio, 5)
    made[3] = replace(made[3], fields={"stage": "x" * 1001})
    customerio.poisoned = {"e0001"}
    with closing(destination(customerio.sync(), tmp_path)) as target:
        outcomes = target.deliver(made)
    assert [bool(failure) for failure in outcomes] == [False, True, False, True, False]
    assert outcomes[1] is not None and outcomes[3] is not None
    assert (outcomes[1].again, outcomes[1].reason) == (False, "invalid identifiers id is suppressed")
    assert "1000 bytes" in outcomes[3].reason
    assert set(customerio.state()) == {"e0000", "e0002", "e0004"}


def test_an_operation_that_is_too_large_is_not_sent_and_the_others_keep_their_places(
    customerio: CustomerioStandIn, tmp_path: Path
) -> None:
    made = records(customerio, 4)
    made[0] = replace(made[0], fields={f"field_{number}": "x" * 900 for number in range(40)})
    customerio.poisoned = {"e0002"}
    with closing(destination(customerio.sync(), tmp_path)) as target:
        outcomes = target.deliver(made)
        assert [failure and failure.reason for failure in target.deliver(made[:1])] == [
            "the operation is larger than 32000 bytes"
        ]
    assert [failure.reason if failure else "" for failure in outcomes] == [
        "the operation is larger than 32000 bytes",
        "",
        "invalid identifiers id is suppressed",
        "",
    ]
    assert customerio.calls["POST /api/v2/batch"] == 1


@pytest.mark.parametrize("filling", ["x", "é", '"', "\N{GRINNING FACE}"])
def test_no_batch_is_larger_than_a_call_may_be(customerio: CustomerioStandIn, tmp_path: Path, filling: str) -> None:
    fields = {"stage": filling * 250, "score": 0.5}
    made = [replace(record, fields=fields) for record in records_of(customerio, numbers=range(3000))]
    with closing(destination(customerio.sync(), tmp_path)) as target:
        parts = list(batches(target, made))
        sizes = [
            len(json.dumps(target.preview(part)[0], ensure_ascii=False, separators=(",", ":")).encode())
            for part in parts
        ]
    assert max(sizes) <= 500_000
    assert len(parts) > 1


def test_accounts_are_objects_of_their_type(customerio: CustomerioStandIn, tmp_path: Path) -> None:
    options = customerio.declaration()["options"] | {"object_type_id": "2"}
    sync = customerio.sync(entity="account", options=options)
    (first, second) = records(customerio, 2, entity_type="account")
    with closing(destination(sync, tmp_path)) as target:
        assert target.deliver([first, replace(second, action="clear", fields={"stage": None})]) == [None, None]
        assert customerio.kept == {("object 2", "e0000"): first.fields, ("object 2", "e0001"): {}}
        assert target.deliver([replace(first, action="delete")]) == [None]
    assert customerio.kept == {("object 2", "e0001"): {}}


def test_people_can_be_known_by_email(customerio: CustomerioStandIn, tmp_path: Path) -> None:
    (first,) = records(customerio, 1, identifier="person@example.com")
    with closing(destination(customerio.sync(identifier_field="email"), tmp_path)) as target:
        assert target.deliver([first]) == [None]
    assert customerio.kept == {("person by email", "person@example.com"): first.fields}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(207, {"errors": [{"reason": "invalid", "message": "something"}]}),
        Answer(207, {"errors": [{"batch_index": 2, "message": "there are only two"}]}),
        Answer(400, {"errors": [{"reason": "parse_error", "message": "malformed"}]}),
    ],
)
def test_an_error_that_names_no_operation_refuses_the_batch(
    customerio: CustomerioStandIn, tmp_path: Path, answer: Answer
) -> None:
    answering(customerio, answer)
    with closing(destination(customerio.sync(), tmp_path)) as target, pytest.raises(RefusedError):
        target.deliver(records(customerio, 2))


def test_an_answer_that_is_no_object_leaves_the_batch_in_doubt(customerio: CustomerioStandIn, tmp_path: Path) -> None:
    answering(customerio, Answer(200, []))
    with closing(destination(customerio.sync(), tmp_path)) as target, pytest.raises(UnavailableError):
        target.deliver(records(customerio, 2))


def test_each_region_has_its_host(customerio: CustomerioStandIn, tmp_path: Path) -> None:
    for options, host in (({}, "https://track.customer.io"), ({"region": "eu"}, "https://track-eu.customer.io")):
        with closing(destination(customerio.sync(options=options), tmp_path)) as target:
            assert target.address() == host


@pytest.mark.parametrize("wrong", [{"identifier_field": "phone"}, {"entity": "account", "identifier_field": "email"}])
def test_an_identifier_that_customerio_does_not_know_is_a_mistake(
    customerio: CustomerioStandIn, tmp_path: Path, wrong: dict[str, str]
) -> None:
    with pytest.raises(UsageError):
        destination(customerio.sync(**wrong), tmp_path)


def test_the_encoded_key_is_masked_too(customerio: CustomerioStandIn, tmp_path: Path) -> None:
    with closing(destination(customerio.sync(), tmp_path)) as target:
        basic = target.headers()["authorization"].removeprefix("Basic ")
        assert target.mask(f"key {basic}") == "key ***"
