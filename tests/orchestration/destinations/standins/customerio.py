"""Customer.io's /api/v2/batch, after the OpenAPI document of its Track API and its limits."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.orchestration.destinations.standins import Answer, HttpStandIn, Request

SITE_ID, API_KEY = "site-id-00000000", "track-api-key-00000000"
IDENTIFIERS = {"person": ("id", "email", "cio_id"), "object": ("object_id", "cio_object_id")}


class CustomerioStandIn(HttpStandIn):
    """Keeps attributes of people and objects; an empty string or null removes one."""

    name = "customerio"
    spared: ClassVar[Mapping[str, str]] = {"token": "a key of the Track API does not expire"}

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], dict[str, Any]] = {}

    def declaration(self) -> dict[str, Any]:
        return {"destination": "customerio", "options": {"base_url": self.url, "timeout_seconds": 0.4}}

    def environment(self) -> dict[str, str]:
        return {"CUSTOMERIO_SITE_ID": SITE_ID, "CUSTOMERIO_API_KEY": API_KEY}

    def handle(self, request: Request) -> Answer:
        expected = base64.b64encode(f"{SITE_ID}:{API_KEY}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {expected}":
            return Answer(401, {"meta": {"error": "Unauthorized request"}})
        if (request.method, request.path) != ("POST", "/api/v2/batch"):
            return Answer(404)
        if request.headers.get("content-type") != "application/json" or len(request.body) > 500_000:
            return refused("request", "must be JSON of at most 500kb")
        batch = request.json.get("batch")
        if not isinstance(batch, list) or not batch:
            return refused("batch", "must be a list of operations")
        errors = [
            {"batch_index": index, "reason": "invalid", "field": field, "message": message}
            for index, operation in enumerate(batch)
            for field, message in self.wrong(operation)
        ]
        bad = {error["batch_index"] for error in errors}
        good = [operation for index, operation in enumerate(batch) if index not in bad]
        self.writes.append([key_of(operation)[1] for operation in good])
        for operation in good:
            self.apply(operation)
        return Answer(207, {"errors": errors}) if errors else Answer(200, {})

    def wrong(self, operation: Any) -> list[tuple[str, str]]:
        """Field and message of what is invalid, the first thing only."""
        if len(json.dumps(operation, ensure_ascii=False, separators=(",", ":")).encode()) > 32_000:
            return [("request", "must be 32kb or smaller")]
        if not isinstance(operation, dict) or operation.get("type") not in IDENTIFIERS:
            return [("type", "is not known")]
        if operation.get("action") not in ("identify", "delete"):
            return [("action", "is not known")]
        identifiers = operation.get("identifiers") or {}
        given = [name for name in IDENTIFIERS[operation["type"]] if identifiers.get(name)]
        if len(given) != 1 or set(identifiers) - {given[0], "object_type_id"}:
            return [("identifiers", "must have one identifier")]
        if not isinstance(identifiers[given[0]], str) or len(identifiers[given[0]].encode()) > 150:
            return [("identifiers", "must be a string of at most 150 bytes")]
        if operation["type"] == "object" and given[0] == "object_id" and not identifiers.get("object_type_id"):
            return [("object_type_id", "is required")]
        if identifiers[given[0]] in self.poisoned:
            return [("identifiers", f"{given[0]} is suppressed")]
        attributes = operation.get("attributes", {})
        if len(attributes) > 300:
            return [("attributes", "cannot identify more than 300 attributes in one request")]
        for name, value in attributes.items():
            if len(name.encode()) > 150:
                return [("attributes", "attribute name cannot be longer than 150 bytes")]
            if isinstance(value, str) and len(value.encode()) > 1000:
                return [("attributes", f"value for attribute '{name}' cannot be longer than 1000 bytes")]
        return []

    def apply(self, operation: dict[str, Any]) -> None:
        key = key_of(operation)
        if operation["action"] == "delete":
            self.kept.pop(key, None)
            return
        kept = self.kept.setdefault(key, {})
        for name, value in operation.get("attributes", {}).items():
            if value is None or value == "":
                kept.pop(name, None)
            else:
                kept[name] = value

    def state(self) -> dict[str, dict[str, Any]]:
        return {key[1]: dict(fields) for key, fields in self.kept.items()}


def refused(field: str, message: str) -> Answer:
    """A call that was refused as a whole."""
    return Answer(400, {"errors": [{"reason": "invalid", "field": field, "message": message}]})


def key_of(operation: dict[str, Any]) -> tuple[str, str]:
    """What kind of entity, and its identifier."""
    identifiers = operation["identifiers"]
    name = next(name for name in IDENTIFIERS[operation["type"]] if identifiers.get(name))
    kind = f"object {identifiers['object_type_id']}" if operation["type"] == "object" else f"person by {name}"
    return kind, identifiers[name]
