"""The alert hook, over real HTTP on loopback."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from orchestration.home import Home, Notify, silent
from orchestration.sync.alert import alert

REASON = "population: expected 540 rows or more, found 300."
BAD = {"at_risk": REASON}
GOOD: dict[str, str] = {}


class Hook(HTTPServer):
    """Keeps what it was sent; answers with ``status``."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.status, self.pause = 200, ""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(hook.status)
                if hook.pause:
                    self.send_header("Retry-After", hook.pause)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    """A hook that listens, and its address with a secret in the environment."""
    with Hook() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("TRAITHOUSE_ALERT_URL", f"http://127.0.0.1:{server.server_port}/T0/very-secret")
        yield server
        server.shutdown()


def told(home: Home, withheld: dict[str, str], notify: Notify = silent) -> bool:
    """One publish of one trait."""
    return alert(home, "000002-x", ["at_risk"], withheld, notify=notify)


def test_it_tells_once_what_is_withheld_and_once_that_it_is_over(home: Home, hook: Hook) -> None:
    assert not told(home, GOOD)
    assert told(home, BAD)
    assert not told(home, BAD)
    assert told(home, GOOD)
    assert not told(home, GOOD)
    first, second = hook.received
    assert first["withheld"] == [{"trait": "at_risk", "reason": REASON}]
    assert "at_risk is withheld: population: expected 540 rows or more" in first["text"]
    assert second["recovered"] == ["at_risk"]


def test_an_alert_that_does_not_arrive_is_sent_again_and_never_names_its_address(home: Home, hook: Hook) -> None:
    said: list[str] = []
    hook.status = 500
    assert not told(home, BAD, said.append)
    hook.status = 200
    assert told(home, BAD, said.append)
    assert said == ["the alert was refused with 500; it will be sent again after the next publish"]
    assert "secret" not in json.dumps([said, home.status(), hook.received])


def test_without_an_address_nothing_is_sent(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRAITHOUSE_ALERT_URL", raising=False)
    assert not told(home, BAD)
    assert "alerted" not in home.status()


def test_an_answer_that_drips_holds_nobody_up(home: Home, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dripping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with suppress(OSError):
                for _ in range(1000):
                    self.wfile.write(b"x")
                    time.sleep(0.05)

    monkeypatch.setattr("orchestration.sync.alert.SECONDS", 0.4)
    hook.RequestHandlerClass = Dripping  # type: ignore[assignment]
    begun = time.monotonic()
    assert not told(home, BAD)
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize("pause", ["0", "nan", "9999999"])
def test_an_alert_that_is_to_wait_is_asked_for_once(home: Home, hook: Hook, pause: str) -> None:
    hook.status, hook.pause = 429, pause
    assert not told(home, BAD)
    assert len(hook.received) == 1
