"""A webhook on loopback, and a sync to it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from standardwebhooks.webhooks import Webhook

from orchestration.declarations.syncs import Sync
from orchestration.sync import deliver

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes or more").decode()


@dataclass
class Receiver:
    """A webhook endpoint on loopback that verifies signatures."""

    port: int = 0
    status: int = 200
    messages: list[dict[str, object]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    state = Receiver()
    monkeypatch.setattr(deliver, "FIRST_BACKOFF_SECONDS", 0.001)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            Webhook(SECRET).verify(body, dict(self.headers.items()))
            if state.status == 200 and json.loads(body)["data"]["entity_id"] not in state.refused:
                state.messages.append(json.loads(body))
            state.ids.append(self.headers["webhook-id"])
            entity = json.loads(body)["data"]["entity_id"]
            self.send_response(422 if entity in state.refused else state.status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{state.port}/traits")
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    yield state
    server.shutdown()
    server.server_close()


def webhook(**given: object) -> Sync:
    declared: dict[str, object] = {
        "name": "hook",
        "description": "A hook.",
        "destination": "webhook",
        "traits": ("power_user",),
        "options": {"url_env": "HOOK_URL", "secret_env": "HOOK_SECRET"},
    }
    return Sync.model_validate(declared | given)
