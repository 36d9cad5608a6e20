"""What is said of one entity in one sync."""

from __future__ import annotations

from typing import Any

import pytest

from orchestration.declarations.syncs import Sync
from orchestration.destinations import Failure
from orchestration.home import Home
from orchestration.sync.explain import explain_delivery
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.ledger_schema import DeliveryResult
from orchestration.sync.plan import plan
from tests.serving import catalog_of, serve

TRAITS = {"paying": "boolean"}
VALUES = {user: {"paying": "true"} for user in ("u1", "u2", "u3")}
EMAILS = {"u1": {"email": "a@x.org"}, "u2": {"email": "A@x.org"}, "u3": {}}


def sync_of(**given: Any) -> Sync:
    declared = {"name": "crm", "description": "A test.", "destination": "file", "traits": "all"}
    return Sync.model_validate(declared | given)


def settle(home: Home, sync: Sync, failure: Failure | None) -> None:
    with SyncLedger(home) as ledger:
        records = plan(home, catalog_of(TRAITS, sync), sync, ledger, retry_refused=True).records
        ledger.settle(begun=records)
        ledger.settle([DeliveryResult(record, failure) for record in records])


def explained(home: Home, sync: Sync, user: str = "u1") -> str:
    return explain_delivery(home, catalog_of(TRAITS, sync), sync, user)


def test_an_entity_that_was_not_sent_yet_waits(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES)
    assert explained(home, sync_of()) == "waits for the next run (upsert)"
    assert explained(home, sync_of(), "nobody") == "has no value of its traits"


def test_an_acknowledged_entity_is_shown_with_build_and_fields(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES)
    settle(home, sync_of(), None)
    said = 'was acknowledged as u1 with build 000001-20240630T000000Z: {"paying": true}'
    assert explained(home, sync_of()) == said


@pytest.mark.parametrize(("tries", "said"), [(1, "tried once, last at"), (2, "tried 2 times, last at")])
def test_a_refused_entity_is_shown_with_its_reason(home: Home, tries: int, said: str) -> None:
    home.prepare()
    serve(home, 1, VALUES)
    for _ in range(tries):
        settle(home, sync_of(), Failure("no such field"))
    text = explained(home, sync_of())
    assert text.startswith(f"was refused with build 000001-20240630T000000Z ({said} ")
    assert text.endswith(" UTC): no such field")


def test_an_entity_that_is_not_sent_is_shown_with_why(home: Home) -> None:
    home.prepare()
    serve(home, 1, VALUES, people=EMAILS)
    sync = sync_of(identifier="email")
    assert explained(home, sync, "u2") == "is not sent: its email is also that of u1"
    assert explained(home, sync, "u3") == "is not sent: no email"
