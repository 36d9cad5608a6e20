"""`traithouse serve` as a process: streams, replicas, and signals."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from orchestration.home import Home
from orchestration.serving.keys import add_key
from tests.api import Process, bearer, republish, serving, token
from tests.conftest import served

USER = "user_0000"


@pytest.fixture(scope="module")
def running(published_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Process, str]]:
    """A server of a home, with a key."""
    from tests.cache import copied

    folder = tmp_path_factory.mktemp("serving")
    home = copied(published_home, folder / "home")
    key = add_key(home.serving, "tests", "reader")
    republish(home, "update traits.trait_catalog set serve = 'browser' where trait = 'dormant'")
    with serving(home, folder) as process:
        yield home, process, key


class Listener:
    """Reads a stream of events in a thread."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.events: list[tuple[float, str]] = []
        self.opened, self.ended = threading.Event(), threading.Event()
        self._url, self._headers = url, headers or {}
        threading.Thread(target=self._read, daemon=True).start()
        assert self.opened.wait(10)

    def _read(self) -> None:
        with httpx.stream("GET", self._url, headers=self._headers, timeout=60, trust_env=False) as response:
            assert response.status_code == 200
            for line in response.iter_lines():
                self.opened.set()
                if line.startswith("data: "):
                    self.events.append((time.monotonic(), line.removeprefix("data: ")))
        self.ended.set()

    def next(self, after: int, seconds: float = 15) -> str:
        """The event after so many, within some seconds."""
        ends = time.monotonic() + seconds
        while len(self.events) <= after and time.monotonic() < ends:
            time.sleep(0.01)
        return self.events[after][1]


def evaluate(process: Process, credential: str, user: str = USER) -> httpx.Response:
    return httpx.post(
        f"{process.url}/ofrep/v1/evaluate/flags",
        json={"context": {"targetingKey": user}},
        headers=bearer(credential),
        trust_env=False,
    )


def test_a_page_is_told_of_a_publish_and_only_of_its_own_user(running: tuple[Home, Process, str]) -> None:
    home, process, _ = running
    [stream] = evaluate(process, token(USER)).json()["eventStreams"]
    listener = Listener(process.url + stream["endpoint"]["requestUri"])
    republish(home, "update traits.trait_values set reason = 'Another.' where entity_id = 'user_0001'")
    began = time.monotonic()
    build = republish(home, f"update traits.trait_values set reason = 'Another.' where entity_id = '{USER}'")
    assert json.loads(listener.next(0)) == {"type": "refetchEvaluation", "etag": build}
    assert listener.events[0][0] - began < 10  # the publish itself is within
    time.sleep(0.6)
    assert len(listener.events) == 1
    assert evaluate(process, token(USER)).json()["flags"][0]["metadata"]["why"] == "Another."
    republish(home, "update traits.trait_catalog set verdict = 'failed' where trait = 'dormant'")
    assert json.loads(listener.next(1))["type"] == "refetchEvaluation"


def test_a_workflow_follows_the_ledger_and_reads_on_where_it_was(running: tuple[Home, Process, str]) -> None:
    home, process, key = running
    last = served(home, "select max(seq) from traits.trait_changes")[0][0]
    republish(home)
    listener = Listener(f"{process.url}/v1/changes/stream?after={last - 2}", bearer(key))
    assert [json.loads(listener.next(number))["seq"] for number in (0, 1)] == [last - 1, last]
    republish(
        home,
        "insert into traits.trait_changes by name select * replace (seq + 1 as seq, 'true' as new_value)"
        " from traits.trait_changes order by seq desc limit 1",
    )
    assert json.loads(listener.next(2))["seq"] == last + 1
    again = Listener(f"{process.url}/v1/changes/stream", bearer(key) | {"Last-Event-ID": str(last)})
    assert json.loads(again.next(0))["seq"] == last + 1
    everything = Listener(f"{process.url}/v1/changes/stream?after=0", bearer(key))
    assert json.loads(everything.next(last)) == json.loads(again.next(0))
    ahead = Listener(f"{process.url}/v1/changes/stream?after={last + 100}", bearer(key))
    assert json.loads(ahead.next(0))["error"]["code"] == "gone"


def test_a_terminated_server_ends_its_streams_and_answers_what_is_under_way(
    running: tuple[Home, Process, str], tmp_path: Path
) -> None:
    home, _, key = running
    with serving(home, tmp_path) as process:
        listener = Listener(f"{process.url}/v1/changes/stream?after=0", bearer(key))
        began = time.monotonic()
        process.end()
        assert time.monotonic() - began < 10
        assert listener.ended.wait(2)
        assert process.process.returncode == 0
    with serving(home, tmp_path) as process:
        # As Ctrl+C does it.
        process.process.send_signal(signal.SIGINT)
        assert process.process.wait(10) == 0
        assert "Interrupted" not in process.log.read_text()


def test_a_replica_needs_no_home(running: tuple[Home, Process, str], tmp_path: Path) -> None:
    home, _, key = running
    copying = Home(home.settings.model_copy(update={"serve_to": str(tmp_path / "place")}))
    build = republish(copying)
    (tmp_path / "temporary").mkdir()
    environment = {
        "TRAITHOUSE_SERVE_FROM": str(tmp_path / "place"),
        "TRAITHOUSE_HOME": str(tmp_path / "none"),
        "TMPDIR": str(tmp_path / "temporary"),
    }
    with serving(None, tmp_path / "logs", environment) as replica:
        assert evaluate(replica, key).headers["traithouse-build"] == build
        (tmp_path / "place").rename(tmp_path / "away")
        time.sleep(1.5)
        assert evaluate(replica, key).headers["traithouse-build"] == build
        (tmp_path / "away").rename(tmp_path / "place")
        build = republish(copying)
        ends = time.monotonic() + 20
        while evaluate(replica, key).headers["traithouse-build"] != build:
            assert time.monotonic() < ends
            time.sleep(0.05)
    assert not (tmp_path / "none").exists()
    assert not list((tmp_path / "temporary").iterdir())
