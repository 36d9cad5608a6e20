"""Intercom's data attributes: which are there, and creating custom attributes that are missing.

Calls: ``GET /data_attributes?model=<contact or company>`` and ``POST /data_attributes``, each 200. An attribute has a
name, a type and a description; Intercom makes its label from the name. A token tells no scopes: a call without its
scope is answered 403.

Source: "Intercom API" 2.14 (OpenAPI description, MIT), Data attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.destinations import Record, UnavailableError
from orchestration.destinations._fields import FieldKeeper, WantedField
from orchestration.destinations._http import HttpDestination, json_object

_MODELS = {"contacts": "contact", "companies": "company"}
# What the sync writes -> types of an attribute.
_TAKES = {"boolean": ("boolean",), "number": ("float", "integer"), "string": ("string", "options")}
_CREATED = {"boolean": "boolean", "number": "float", "string": "string"}


class IntercomAttributes(FieldKeeper):
    """Custom attributes of contacts or of companies."""

    def __init__(self, destination: HttpDestination) -> None:
        self._destination = destination
        self._model = _MODELS[destination.object_name]

    def missing_scopes(self, *, creates: bool) -> list[str]:
        """None that could be asked for."""
        return []

    def problems(self, wanted: Sequence[WantedField]) -> dict[str, str]:
        """Of each wanted attribute that is there; what records are found by is always there."""
        answer = self._destination.call("GET", "/data_attributes", success=(200,), params={"model": self._model})
        listed = json_object(answer).get("data")
        if not isinstance(listed, list) or not all(isinstance(found, dict) for found in listed):
            raise UnavailableError("the list of data attributes cannot be read")
        there = {str(found.get("name")): found for found in listed}
        custom = {name: found for name, found in there.items() if found.get("custom") is not False}
        found = {
            field.name: self._problem(field, custom[field.name])
            for field in wanted
            if field.name in custom and not field.is_identifier
        }
        return found | {field.name: "" for field in wanted if field.is_identifier}

    def refusal(self, field: WantedField) -> str:
        """Every custom attribute can be created."""
        return ""

    def create(self, field: WantedField) -> str:
        """Creates it with its description."""
        body = {
            "name": field.name,
            "model": self._model,
            "data_type": "string" if self._model == "company" else _CREATED[field.type],
            "description": field.description or field.label,
        }
        answer = self._destination.call("POST", "/data_attributes", success=(200,), json=body)
        if json_object(answer).get("name") != field.name:
            raise UnavailableError("the answer does not name the data attribute")
        return ""

    def _problem(self, field: WantedField, there: Mapping[str, Any]) -> str:
        if there.get("api_writable") is False:
            return "it cannot be written through the API"
        takes = _TAKES["string" if self._model == "company" else field.type]
        sent = "text" if self._model == "company" else f"a {field.type}"
        kind = there.get("data_type")
        return "" if kind in takes else f"it is an attribute of type {kind}, and {sent} is sent"


def attributes_of(record: Record) -> dict[str, Any]:
    """Attributes of a contact, with their types."""
    values = record.fields.items()
    return {
        "custom_attributes": {
            name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in values
        }
    }


def texts_of(record: Record) -> dict[str, Any]:
    """Attributes of a company, which the description types as text that is never null."""
    written = attributes_of(record)["custom_attributes"].items()
    return {"custom_attributes": {name: "" if value is None else _text(value) for name, value in written}}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
