"""HubSpot's contacts, as its CRM objects guide and its guide to errors describe them."""

from __future__ import annotations

import re
from collections import deque
from typing import Any, ClassVar

from tests.orchestration.destinations.standins import Answer, HttpStandIn, Request

TOKEN = "pat-na1-a-token-of-a-private-app"
TYPES = {"email": "string", "stage": "string", "at_risk": "bool", "score": "number", "external_key": "string"}
UNIQUE = ("email", "external_key")
TIMES = {"startedAt": "2024-06-30T00:00:00.000Z", "completedAt": "2024-06-30T00:00:00.100Z"}


class HubspotStandIn(HttpStandIn):
    """Contacts by record id; properties are text.

    Attributes:
        multi_status: whether inputs with trace ids fail alone, or take all others with them.
        names_input: whether an error of a row says which input it means.
        prepared: answers that the next calls get instead.
        blocked: addresses that were deleted for good.
        merged: second addresses of contacts -> record id.

    """

    name = "hubspot"
    spared: ClassVar = {"token": "the token of a private app does not expire"}

    def __init__(self) -> None:
        super().__init__()
        self.contacts: dict[str, dict[str, str]] = {}
        self.archived: set[str] = set()
        self.blocked: set[str] = set()
        self.merged: dict[str, str] = {}
        self.multi_status = self.names_input = True
        self.prepared: deque[Answer] = deque()
        self.types = dict(TYPES)
        self.labels: dict[str, str] = {}
        self.unique = set(UNIQUE)
        self.scopes = [f"crm.{kind}.contacts.{verb}" for kind in ("objects", "schemas") for verb in ("read", "write")]

    def declaration(self) -> dict[str, Any]:
        return {
            "destination": "hubspot",
            "identifier": "email",
            "options": {"base_url": self.url, "timeout_seconds": 0.4, "calls_in_ten_seconds": 190},
        }

    def environment(self) -> dict[str, str]:
        return {"HUBSPOT_TOKEN": TOKEN}

    def is_write(self, request: Request) -> bool:
        return request.path.startswith("/crm/v3/objects/") and not request.path.endswith("/batch/read")

    def handle(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return failed(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.")
        if request.method == "POST" and request.headers.get("content-type") != "application/json":
            return Answer(415)
        if self.prepared:
            return self.prepared.popleft()
        if request.path == "/oauth/v2/private-apps/get/access-token-info":
            known = request.json == {"tokenKey": TOKEN}
            return Answer(200, {"hubId": 1, "scopes": self.scopes}) if known else failed(404, "NOT_FOUND", "no token")
        if request.path == "/crm/v3/properties/contacts":
            return self.properties() if request.method == "GET" else self.create_property(request.json)
        call = re.fullmatch(
            r"/crm/v3/objects/contacts/(gdpr-delete|batch/(?:upsert|update|read|archive))", request.path
        )
        if request.method != "POST" or not call:
            return Answer(404)
        if call[1] == "gdpr-delete":
            return self.purge(request.json)
        inputs = request.json["inputs"]
        if not 0 < len(inputs) <= 100:
            return failed(400, "VALIDATION_ERROR", f"The maximum number of inputs is 100, got {len(inputs)}")
        ids = [item["id"] for item in inputs]
        if not all(isinstance(record_id, str) for record_id in ids):
            return failed(400, "VALIDATION_ERROR", "Invalid input JSON: id is a string")
        folded = [record_id.lower() for record_id in ids]
        if twice := sorted({record_id for record_id in ids if folded.count(record_id.lower()) > 1}):
            return failed(400, "VALIDATION_ERROR", f"Duplicate IDs found in batch input: {twice}. IDs must be unique")
        if call[1] == "batch/archive":
            self.archived |= {record_id for record_id in ids if record_id in self.contacts}
            return Answer(204)
        if call[1] == "batch/read":
            return self.read(ids, request.json)
        return self.write(call[1].removeprefix("batch/"), inputs)

    def properties(self) -> Answer:
        fields = [
            {
                "name": name,
                "label": self.labels.get(name, name),
                "type": kind,
                "fieldType": "booleancheckbox" if kind == "bool" else "text",
                "hasUniqueValue": name in self.unique,
                "calculated": False,
                "modificationMetadata": {"readOnlyValue": False},
            }
            for name, kind in self.types.items()
        ]
        return Answer(200, {"results": fields})

    def create_property(self, asked: dict[str, Any]) -> Answer:
        if "crm.schemas.contacts.write" not in self.scopes:
            return failed(403, "MISSING_SCOPES", "This app hasn't been granted all required scopes")
        if asked["name"] in self.types:
            return failed(409, "OBJECT_ALREADY_EXISTS", f"A property named '{asked['name']}' already exists.")
        has_options = asked["type"] not in ("bool", "enumeration") or len(asked.get("options", [])) > 1
        if not has_options or asked["groupName"] != "contactinformation" or not asked["label"]:
            return failed(400, "VALIDATION_ERROR", "Property is not valid")
        self.types[asked["name"]] = asked["type"]
        self.labels[asked["name"]] = asked["label"]
        self.unique |= {asked["name"]} if asked.get("hasUniqueValue") else set()
        return Answer(201, asked)

    def find(self, value: str, unique: str | None) -> str | None:
        """Record id of a contact that is not archived."""
        living = {record_id: has for record_id, has in self.contacts.items() if record_id not in self.archived}
        if unique is None:
            return value if value in living else None
        first = next(
            (record_id for record_id, has in living.items() if has.get(unique, "").lower() == value.lower()), None
        )
        return first or (self.merged.get(value) if unique == "email" else None)

    def read(self, ids: list[str], asked: dict[str, Any]) -> Answer:
        if asked.get("idProperty") not in (None, *self.unique):
            return failed(400, "VALIDATION_ERROR", "Unable to read by a property that is not unique")
        found = {value: self.find(value, asked.get("idProperty")) for value in ids}
        results = [self.shown(record, asked["properties"]) for record in found.values() if record]
        missing = [value for value, record in found.items() if not record]
        if not missing:
            return Answer(200, {"status": "COMPLETE", "results": results, **TIMES})
        error = {
            "status": "error",
            "category": "OBJECT_NOT_FOUND",
            "message": "Could not get some CONTACT objects, they may be deleted or not exist.",
            "context": {"ids": missing},
        }
        return partly(results, [error])

    def write(self, verb: str, inputs: list[dict[str, Any]]) -> Answer:
        errors, results, good = [], [], []
        for item in inputs:
            unique = item.get("idProperty")
            if verb == "upsert" and unique not in self.unique:
                return failed(400, "VALIDATION_ERROR", "Unable to perform update/upsert by non-unique property")
            if not all(isinstance(value, str) for value in item["properties"].values()):
                return failed(400, "VALIDATION_ERROR", "Invalid input JSON: properties are strings")
            record = self.find(item["id"], unique)
            error = self.wrong(verb, item, record)
            if error is None:
                good.append((item, record))
                continue
            if not (self.multi_status and all("objectWriteTraceId" in other for other in inputs)):
                return Answer(400, error | {"correlationId": "c0"})
            context = {"objectWriteTraceId": [item["objectWriteTraceId"]]} if self.names_input else {}
            errors.append(error | {"context": context})
        for item, record in good:
            new = record is None
            if record is None:
                record = str(len(self.contacts) + 101)
                by_email = item["idProperty"] == "email"
                self.contacts[record] = {item["idProperty"]: item["id"].lower() if by_email else item["id"]}
            self.contacts[record] |= item["properties"]
            results.append(self.shown(record, list(self.types)) | ({"new": new} if verb == "upsert" else {}))
        self.writes.append([item["id"] for item, _ in good])
        return partly(results, errors) if errors else Answer(200, {"status": "COMPLETE", "results": results, **TIMES})

    def wrong(self, verb: str, item: dict[str, Any], record: str | None) -> dict[str, Any] | None:
        if verb == "update" and record is None:
            return error_of("OBJECT_NOT_FOUND", "Could not get some CONTACT objects")
        if item["id"].lower() in self.poisoned | self.blocked:
            return error_of("VALIDATION_ERROR", f"Email address {item['id']} is invalid", "INVALID_EMAIL")
        for name, value in item["properties"].items():
            kind = self.types.get(name)
            if kind is None:
                return error_of("VALIDATION_ERROR", f'Property "{name}" does not exist', "PROPERTY_DOESNT_EXIST")
            if kind == "bool" and value not in ("true", "false", ""):
                return error_of("VALIDATION_ERROR", f"{value} was not one of the allowed options", "INVALID_OPTION")
            if kind == "number" and value and not re.fullmatch(r"-?\d+(\.\d+)?", value):
                return error_of("VALIDATION_ERROR", f"{value} was not a valid number", "INVALID_INTEGER")
        return None

    def purge(self, asked: dict[str, str]) -> Answer:
        record = self.find(asked["objectId"], asked.get("idProperty"))
        if asked.get("idProperty") == "email":
            self.blocked.add(asked["objectId"].lower())
        elif record is None:
            return failed(404, "OBJECT_NOT_FOUND", "resource not found")
        if record:
            self.blocked.add(self.contacts.pop(record).get("email", "").lower())
        return Answer(204)

    def shown(self, record: str, names: list[str]) -> dict[str, Any]:
        has = {name: self.contacts[record].get(name) or None for name in names}
        at = "2024-06-30T00:00:00.000Z"
        return {"id": record, "properties": has, "createdAt": at, "updatedAt": at, "archived": False}

    def state(self) -> dict[str, dict[str, Any]]:
        typed = {"bool": lambda text: text == "true", "number": float, "string": str}
        return {
            has["email"]: {
                name: typed[self.types[name]](text) for name, text in has.items() if text and name != "email"
            }
            for record, has in self.contacts.items()
            if record not in self.archived
        }


def error_of(category: str, message: str, code: str = "") -> dict[str, Any]:
    details = {"errors": [{"message": message, "code": code}]} if code else {}
    return {"status": "error", "category": category, "message": message, **details}


def failed(status: int, category: str, message: str) -> Answer:
    return Answer(status, error_of(category, message) | {"correlationId": "c0"})


def partly(results: list[Any], errors: list[Any]) -> Answer:
    return Answer(207, {"status": "COMPLETE", "results": results, "numErrors": len(errors), "errors": errors, **TIMES})
