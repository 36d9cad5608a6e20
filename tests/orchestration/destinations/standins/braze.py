"""Braze's /users/track and /users/delete, after its API documentation and the community specification.

One invalid object of many is told by its index while the others are taken; no valid object at all, or too many, is a
fatal error. An attribute keeps the type of its first value; a value of another type is dropped without an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.orchestration.destinations.standins import Answer, HttpStandIn, Request

KEY = "braze-rest-api-key-00000000"
IDENTIFIERS = ("external_id", "user_alias", "braze_id", "email", "phone")
LISTS = {
    "external_ids": "external_id",
    "user_aliases": "user_alias",
    "braze_ids": "braze_id",
    "email_addresses": "email",
}
NEEDED = "'external_id', 'braze_id', 'user_alias', 'email' or 'phone' is required"


class BrazeStandIn(HttpStandIn):
    """Keeps custom attributes of users.

    Attributes:
        most: objects a call; some plans have 50.
        points: data points that would be billed.

    """

    name = "braze"
    spared: ClassVar[Mapping[str, str]] = {"token": "a REST API key does not expire"}

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[tuple[str, str], dict[str, Any]] = {}
        self.types: dict[str, type] = {}
        self.most = 75
        self.points = 0

    def declaration(self) -> dict[str, Any]:
        return {"destination": "braze", "options": {"base_url": self.url, "timeout_seconds": 0.4}}

    def environment(self) -> dict[str, str]:
        return {"BRAZE_API_KEY": KEY}

    def handle(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return Answer(401, {"message": "Invalid API key"})
        if request.headers.get("content-type") != "application/json" or request.method != "POST":
            return Answer(400, {"message": "Bad syntax"})
        if request.path == "/users/track":
            return self.track(request.json)
        if request.path == "/users/delete":
            return self.delete(request.json)
        if request.path == "/users/export/ids":
            return self.export(request.json)
        return Answer(404, {"message": "Not Found"})

    def track(self, body: dict[str, Any]) -> Answer:
        given = body.get("attributes")
        if not isinstance(given, list) or not given:
            return Answer(400, {"message": "Valid data must be provided in the 'attributes' field."})
        if len(given) > self.most:
            return Answer(400, {"message": "Max Input Length Exceeded"})
        errors = [
            {"type": wrong, "input_array": "attributes", "index": index}
            for index, item in enumerate(given)
            if (wrong := self.wrong(item))
        ]
        bad = {error["index"] for error in errors}
        good = [item for index, item in enumerate(given) if index not in bad]
        if not good:
            return Answer(400, {"message": "Valid data must be provided in the 'attributes' field.", "errors": errors})
        self.writes.append([key_of(item)[1] for item in good])
        for item in good:
            self.write(item)
        said: dict[str, Any] = {"message": "success", "attributes_processed": len(good)}
        return Answer(201, said | ({"errors": errors} if errors else {}))

    def export(self, body: dict[str, Any]) -> Answer:
        if set(body) - {"external_ids", "user_aliases", "braze_id", "email_address", "fields_to_export"}:
            return Answer(400, {"message": "Invalid parameter"})
        if len(body.get("external_ids", [])) > 50:
            return Answer(400, {"message": "Too many ids"})
        asked = [("external_id", name) for name in body.get("external_ids", [])]
        asked += [("email", body["email_address"])] if "email_address" in body else []
        users = [
            {"external_id": key[1] if key[0] == "external_id" else None, "custom_attributes": self.users[key]}
            for key in asked
            if key in self.users
        ]
        return Answer(201, {"message": "success", "users": users})

    def is_write(self, request: Request) -> bool:
        return request.path != "/users/export/ids"

    def wrong(self, item: Any) -> str:
        if not isinstance(item, dict):
            return "attributes must be objects"
        given = [name for name in IDENTIFIERS if item.get(name)]
        if not given:
            return NEEDED
        if not isinstance(item[given[0]], dict if given[0] == "user_alias" else str):
            return f"{given[0]} is of the wrong type"
        if given[0] == "user_alias" and set(item["user_alias"]) != {"alias_name", "alias_label"}:
            return "user_alias needs alias_name and alias_label"
        if key_of(item)[1] in self.poisoned:
            return "provided external_id is blacklisted and disallowed"
        if any(name.startswith("$") or len(name) > 255 for name in item):
            return "invalid attribute name"
        return ""

    def write(self, item: dict[str, Any]) -> None:
        key = key_of(item)
        update_only = item.get("_update_existing_only", key[0] == "user_alias")
        attributes = {
            name: value for name, value in item.items() if name not in (*IDENTIFIERS, "_update_existing_only")
        }
        self.points += len(attributes)
        if update_only and key not in self.users:
            return
        user = self.users.setdefault(key, {})
        for name, value in attributes.items():
            kind = float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
            if value is None:
                user.pop(name, None)
            elif self.types.setdefault(name, kind) is kind:
                user[name] = value

    def delete(self, body: dict[str, Any]) -> Answer:
        given = [name for name in LISTS if name in body]
        if len(given) != 1:
            return Answer(400, {"message": "Only one of the lists of identifiers can be included."})
        kind, ids = LISTS[given[0]], body[given[0]]
        if not ids or len(ids) > 50:
            return Answer(400, {"message": "The max number of ids per request was exceeded"})
        if kind == "email" and not all(isinstance(item, dict) and item.get("prioritization") for item in ids):
            return Answer(400, {"message": "prioritization is required"})
        # Who is known by an email alone is no identified user.
        ids = [item for item in ids if kind != "email" or "identified" not in item["prioritization"]]
        keys = [key_of({kind: item["email"] if kind == "email" else item}) for item in ids]
        self.writes.append([key[1] for key in keys])
        for key in keys:
            self.users.pop(key, None)
        # "Number of user IDs queued for deletion", whether there is such a user or not.
        return Answer(201, {"deleted": len(keys), "message": "success"})

    def state(self) -> dict[str, dict[str, Any]]:
        return {key[1]: dict(fields) for key, fields in self.users.items()}


def key_of(item: dict[str, Any]) -> tuple[str, str]:
    """By what and as whom a user is known."""
    name = next(name for name in IDENTIFIERS if item.get(name))
    return name, item[name]["alias_name"] if name == "user_alias" else item[name]
