"""Segment's /v1/batch, after the documentation of its HTTP API: it answers 200 and drops what is bad.

With ``rudderstack`` it answers as RudderStack's data plane does.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.orchestration.destinations.standins import Answer, HttpStandIn, Request

WRITE_KEY = "segment-write-key-00000000"


class SegmentStandIn(HttpStandIn):
    """Keeps traits of users and groups, and every message once by its id.

    Attributes:
        messages: messages by id, in the order in which they came first.
        dropped: messages that were answered with 200 and not kept.

    """

    name = "segment"
    spared: ClassVar[Mapping[str, str]] = {
        "token": "a write key does not expire",
        "one bad row": "a bad message is answered with 200",
        "poison": "a bad message is answered with 200",
    }

    def __init__(self) -> None:
        super().__init__()
        self.messages: dict[str, dict[str, Any]] = {}
        self.dropped: list[dict[str, Any]] = []
        self.rudderstack = False

    def declaration(self) -> dict[str, Any]:
        options = {"base_url": self.url, "timeout_seconds": 0.4}
        return {
            "destination": "segment",
            "options": options | ({"service": "rudderstack"} if self.rudderstack else {}),
        }

    def environment(self) -> dict[str, str]:
        return {"SEGMENT_WRITE_KEY": WRITE_KEY}

    def handle(self, request: Request) -> Answer:
        if (request.method, request.path) != ("POST", "/v1/batch"):
            return Answer(404)
        if request.headers.get("content-type") != "application/json" or len(request.body) > 500_000:
            return Answer(400, {"success": False, "message": "payload too large"})
        try:
            batch = request.json["batch"]
            if not isinstance(batch, list) or not batch:
                raise ValueError
        except (ValueError, TypeError, KeyError):
            return Answer(400, {"success": False, "message": "malformed JSON"})
        if any(len(json.dumps(message, separators=(",", ":"))) > 32_000 for message in batch):
            return Answer(400, {"success": False, "message": "message too large"})
        is_known = (
            request.headers.get("authorization") == "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
        )
        if self.rudderstack and not is_known:
            return Answer(401, b"Invalid Write Key")
        kept = [message for message in batch[:2_500] if is_known and self.is_good(message)]
        self.dropped += [message for message in batch if message not in kept]
        self.writes.append([key_of(message) for message in kept if message["type"] in ("identify", "group")])
        for message in kept:
            self.messages.setdefault(message["messageId"], message)
        return Answer(200, b"OK") if self.rudderstack else Answer(200, {"success": True})

    def is_good(self, message: dict[str, Any]) -> bool:
        """Whether Segment keeps it."""
        if not message.get("userId") and not message.get("anonymousId"):
            return False
        if not isinstance(message.get("messageId"), str) or len(message["messageId"]) > 100:
            return False
        needed = {"identify": ("userId", "traits"), "group": ("groupId", "traits"), "track": ("event",)}
        return message.get("type") in needed and all(message.get(name) for name in needed[message["type"]])

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """Messages of a type."""
        return [message for message in self.messages.values() if message["type"] == kind]

    def state(self) -> dict[str, dict[str, Any]]:
        kept: dict[str, dict[str, Any]] = {}
        for message in self.messages.values():
            if message["type"] in ("identify", "group"):
                kept.setdefault(key_of(message), {}).update(message["traits"])
        return {
            key: {name: value for name, value in traits.items() if value is not None} for key, traits in kept.items()
        }

    def held(self) -> dict[str, set[tuple[str, Any]]]:
        """Identifier -> trait and value that its last event says it is in."""
        found: dict[str, set[tuple[str, Any]]] = {}
        for message in self.of_type("track"):
            who = message["context"].get("groupId") or message["userId"]
            value = (message["properties"]["trait"], message["properties"]["value"])
            if message["event"] == "Trait Entered":
                found.setdefault(who, set()).add(value)
            else:
                found.setdefault(who, set()).discard(value)
        return found


def key_of(message: dict[str, Any]) -> str:
    """Identifier of the user or group."""
    return str(message["groupId"] if message["type"] == "group" else message["userId"])
