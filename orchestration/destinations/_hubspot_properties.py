"""HubSpot's properties: which are there, and creating those that are missing.

Calls: ``GET /crm/v3/properties/<contacts or companies>``, ``POST`` to the same (201, the property), and ``POST
/oauth/v2/private-apps/get/access-token-info`` for the scopes of a private app's token. A token of another kind has no
such call: its scopes are then not checked beforehand, and a call without its scope is answered 403.

Sources: HubSpot developer documentation as of 2026, "Properties" and "Private apps".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestration.destinations import UnavailableError
from orchestration.destinations._fields import FieldKeeper, WantedField
from orchestration.destinations._http import HttpDestination, json_object

# What the sync writes -> types of a property that take it as text.
_TAKES = {
    "boolean": ("bool", "string"),
    "number": ("number", "string"),
    "string": ("string", "enumeration"),
}
_CREATED: dict[str, dict[str, Any]] = {
    "boolean": {
        "type": "bool",
        "fieldType": "booleancheckbox",
        "options": [
            {"label": "Yes", "value": "true", "displayOrder": 0, "hidden": False},
            {"label": "No", "value": "false", "displayOrder": 1, "hidden": False},
        ],
    },
    "number": {"type": "number", "fieldType": "number"},
    "string": {"type": "string", "fieldType": "text"},
}
_GROUPS = {"contacts": "contactinformation", "companies": "companyinformation"}


class HubspotProperties(FieldKeeper):
    """Properties of contacts or of companies."""

    def __init__(self, destination: HttpDestination, token: Callable[[], str]) -> None:
        self._destination = destination
        self._object = destination.object_name
        self._token = token

    def missing_scopes(self, *, creates: bool) -> list[str]:
        """Scopes of contacts or companies that a private app's token lacks."""
        kinds = ("objects", "schemas")
        verbs = {"objects": ("read", "write"), "schemas": ("read", "write") if creates else ("read",)}
        wanted = [f"crm.{kind}.{self._object}.{verb}" for kind in kinds for verb in verbs[kind]]
        answer = self._destination.call(
            "POST",
            "/oauth/v2/private-apps/get/access-token-info",
            json={"tokenKey": self._token()},
            success=(200,),
            accepted=(400, 403, 404),
        )
        scopes = json_object(answer).get("scopes") if answer.status_code == 200 else None
        return [scope for scope in wanted if scope not in scopes] if isinstance(scopes, list) else []

    def problems(self, wanted: Sequence[WantedField]) -> dict[str, str]:
        """Of each wanted property that is there."""
        answer = self._destination.call("GET", f"/crm/v3/properties/{self._object}", success=(200,))
        results = json_object(answer).get("results")
        if not isinstance(results, list) or not all(isinstance(found, dict) for found in results):
            raise UnavailableError("the list of properties cannot be read")
        there = {str(found.get("name")): found for found in results}
        return {field.name: _problem(field, there[field.name]) for field in wanted if field.name in there}

    def refusal(self, field: WantedField) -> str:
        """HubSpot makes email itself; every other property can be created."""
        return "HubSpot has this property itself" if field.name == "email" else ""

    def create(self, field: WantedField) -> str:
        """Creates it in HubSpot's own group of the object."""
        body = {
            "name": field.name,
            "label": field.label,
            "description": field.description,
            "groupName": _GROUPS[self._object],
            **({"hasUniqueValue": True} if field.is_identifier else {}),
            **_CREATED[field.type],
        }
        answer = self._destination.call("POST", f"/crm/v3/properties/{self._object}", success=(201,), json=body)
        if json_object(answer).get("name") != field.name:
            raise UnavailableError("the answer does not name the property")
        return ""


def _problem(field: WantedField, there: Mapping[str, Any]) -> str:
    """Why a property cannot be written; empty when it can."""
    if field.is_identifier:
        unique = field.name == "email" or there.get("hasUniqueValue") is True
        return "" if unique else "its values need not be unique; create another that requires unique values"
    given = there.get("modificationMetadata")
    if there.get("calculated") is True or (isinstance(given, dict) and given.get("readOnlyValue") is True):
        return "HubSpot calculates it, and nobody can write it"
    is_checkbox = there.get("fieldType") == "booleancheckbox"
    if there.get("type") in _TAKES[field.type] or (field.type == "boolean" and is_checkbox):
        return ""
    return f"it is a property of type {there.get('type')}, and a {field.type} is sent"
