"""A sync whose destination cannot be used is refused, and the message says what to change."""

from __future__ import annotations

import pytest

from orchestration.declarations.syncs import Sync
from orchestration.errors import UsageError
from orchestration.sync.validate import checked_destination, destination_of
from tests.serving import catalog_of

DECLARED = {
    "name": "hook",
    "description": "A hook.",
    "destination": "webhook",
    "traits": "all",
    "options": {"url_env": "HOOK_URL", "secret_env": "HOOK_SECRET"},
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"destination": "carrier_pigeon"}, "no destination carrier_pigeon"),
        ({"options": {"url": "http://127.0.0.1"}}, "options.url_env"),
        ({"destination": "file", "options": {"format": "xml"}}, "options.format"),
    ],
)
def test_a_declaration_that_cannot_be_used_says_what_is_wrong(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        destination_of(Sync.model_validate(DECLARED | given))


def test_a_field_needs_a_name_that_the_destination_can_hold() -> None:
    sync = Sync.model_validate(DECLARED | {"fields": {"paying": {"field": "is paying"}}})
    with pytest.raises(UsageError, match=r"fields\.paying: webhook cannot have a field named 'is paying'") as error:
        checked_destination(catalog_of({"paying": "boolean"}, sync), sync)
    assert error.value.hint == r"Set field to a name that matches \w+."
