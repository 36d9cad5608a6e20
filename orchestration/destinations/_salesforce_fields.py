"""Salesforce's fields: which are there, and creating custom fields that are missing.

Calls, under ``/services/data/v<api_version>/``:

- ``GET sobjects/<object>/describe``: the fields that the user may see, and whether it may create and update records.
- ``POST tooling/sobjects/CustomField`` with FullName and Metadata: 201, ``success`` and the id.
- Nobody may read or write a field that was created so. With ``options.permission_set``, the API name of a permission
  set that the user has, the right is given: ``GET query`` for its id, then ``POST sobjects/FieldPermissions``.

Creating needs the permission Customize Application. Sources: REST API Developer Guide (sObject Describe), Tooling API
Developer Guide (CustomField), Object Reference (FieldPermissions), Metadata API Developer Guide (CustomField); 66.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from orchestration.destinations import RefusedError, UnavailableError
from orchestration.destinations._fields import FieldKeeper, WantedField
from orchestration.destinations._http import json_object, vendor_id
from orchestration.destinations._salesforce_api import SalesforceApi

_TEXTS = ("string", "textarea", "email", "phone", "url", "picklist", "multipicklist", "combobox")
# What the sync writes -> types of a field, as describe names them.
_TAKES = {"boolean": ("boolean",), "number": ("double", "int", "currency", "percent"), "string": _TEXTS}
_CREATED: dict[str, dict[str, Any]] = {
    "boolean": {"type": "Checkbox", "defaultValue": "false"},
    "number": {"type": "Number", "precision": 18, "scale": 6},
    "string": {"type": "Text", "length": 255},
}
_LONGEST_LABEL = 40
_NULL_CHECKBOX = "a checkbox holds no null: declare cleared: false, or cast: string"


class SalesforceFields(FieldKeeper):
    """Fields of one object."""

    def __init__(self, api: SalesforceApi) -> None:
        self._api = api
        self._object = api.object_name
        self._described: dict[str, Any] = {}

    def missing_scopes(self, *, creates: bool) -> list[str]:
        """Rights of the user on records of the object."""
        rights = {"createable": "create", "updateable": "edit"}
        described = self._describe()
        return [f"{verb} {self._object} records" for key, verb in rights.items() if described.get(key) is not True]

    def problems(self, wanted: Sequence[WantedField]) -> dict[str, str]:
        """Of each wanted field that the user can see."""
        fields = self._describe().get("fields")
        if not isinstance(fields, list) or not all(isinstance(found, dict) for found in fields):
            raise UnavailableError("the description of the object cannot be read")
        # Names of fields are the same whatever their case.
        there = {str(found.get("name")).casefold(): found for found in fields}
        return {
            field.name: _problem(field, there[field.name.casefold()])
            for field in wanted
            if field.name.casefold() in there
        }

    def refusal(self, field: WantedField) -> str:
        """Only custom fields can be created, and no checkbox that is to hold a null."""
        if not field.name.endswith("__c"):
            return "only names that end in __c can be created"
        return _NULL_CHECKBOX if field.type == "boolean" and field.cleared is None else ""

    def create(self, field: WantedField) -> str:
        """Creates it, and gives the permission set the right to edit it."""
        key = {"externalId": True, "unique": True, "caseSensitive": True} if field.is_identifier else {}
        metadata = {"label": field.label[:_LONGEST_LABEL], "description": field.description[:1000]}
        full_name = f"{self._object}.{field.name}"
        self._post(
            "tooling/sobjects/CustomField",
            {"FullName": full_name, "Metadata": metadata | _CREATED[field.type] | key},
        )
        name = self._api.options.permission_set
        if not name:
            return "nobody may edit it yet: give the sync's user the right, or name options.permission_set"
        soql = f"SELECT Id FROM PermissionSet WHERE Name = '{name}'"
        answer = self._api.call("GET", self._api.path("query"), success=(200,), params={"q": soql})
        rows = json_object(answer).get("records")
        if not isinstance(rows, list) or len(rows) != 1 or not isinstance(rows[0], dict):
            raise RefusedError(f"there is no permission set {name}, so nobody may edit {field.name} yet")
        right = {"SobjectType": self._object, "Field": full_name, "PermissionsRead": True, "PermissionsEdit": True}
        self._post("sobjects/FieldPermissions", right | {"ParentId": vendor_id(rows[0].get("Id"))})
        return ""

    def _describe(self) -> dict[str, Any]:
        if not self._described:
            path = self._api.path(f"sobjects/{self._object}/describe")
            self._described = json_object(self._api.call("GET", path, success=(200,)))
        return self._described

    def _post(self, call: str, body: Mapping[str, Any]) -> httpx.Response:
        answer = self._api.call("POST", self._api.path(call), success=(201,), json=body)
        if json_object(answer).get("success") is not True:
            raise UnavailableError("the answer does not say that it was created")
        return answer


def _problem(field: WantedField, there: Mapping[str, Any]) -> str:
    """Why a field cannot be written; empty when it can."""
    if field.is_identifier:
        is_key = there.get("externalId") is True or there.get("idLookup") is True
        return "" if is_key else "it is not marked as an external id"
    if there.get("updateable") is not True:
        return "the user of the sync may not edit it"
    if there.get("type") not in _TAKES[field.type]:
        return f"it is a field of type {there.get('type')}, and a {field.type} is sent"
    return _NULL_CHECKBOX if field.type == "boolean" and field.cleared is None else ""
