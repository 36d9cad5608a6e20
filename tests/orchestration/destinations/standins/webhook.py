"""An endpoint that checks signatures with the library of Standard Webhooks, and drops repetitions by webhook-id."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.orchestration.destinations.standins import Answer, HttpStandIn, Request

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes or more").decode()

PATH, QUERY = "/hooks/traits", "key=a%20key"


class WebhookStandIn(HttpStandIn):
    """Keeps the fields of each entity."""

    name = "webhook"
    spared: ClassVar[Mapping[str, str]] = {"malformed": "any 2xx answer acknowledges", "token": "there is no token"}

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, dict[str, Any]] = {}
        self.ids: set[str] = set()

    def declaration(self) -> dict[str, Any]:
        return {
            "destination": "webhook",
            "options": {"url_env": "HOOK_URL", "secret_env": "HOOK_SECRET", "timeout_seconds": 0.4},
        }

    def environment(self) -> dict[str, str]:
        return {"HOOK_URL": f"{self.url}{PATH}?{QUERY}", "HOOK_SECRET": SECRET}

    def handle(self, request: Request) -> Answer:
        if (request.path, request.query) != (PATH, QUERY):
            return Answer(404)
        try:
            Webhook(SECRET).verify(request.body.decode(), dict(request.headers))
        except WebhookVerificationError:
            return Answer(401)
        data = request.json["data"]
        if data["entity_id"] in self.poisoned:
            return Answer(422)
        self.writes.append([data["entity_id"]])
        if request.headers["webhook-id"] not in self.ids:
            self.ids.add(request.headers["webhook-id"])
            if data.get("deleted"):
                self.records.pop(data["entity_id"], None)
            else:
                self.records[data["entity_id"]] = data["traits"]
        return Answer(204)

    def state(self) -> dict[str, dict[str, Any]]:
        return {
            identifier: {name: value for name, value in fields.items() if value is not None}
            for identifier, fields in self.records.items()
        }
