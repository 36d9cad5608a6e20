"""A hundred publishes while two replicas answer behind a proxy, one of them killed and the other upgraded.

    python -m tests.faults.replicas                # a hundred publishes
    python -m tests.faults.replicas --publishes 8

Each publish gives every row of one trait the number of its build as score, so that an answer of two builds is seen. The
proxy asks the other replica where one does not answer, as every proxy can; the API only reads, so that is safe.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestration.home import Home
from orchestration.serving.keys import add_key
from tests.api import Process, bearer
from tests.children import in_child
from tests.conftest import served
from tests.faults.fixture import cached_fixture, table
from tests.faults.readers import FIRST_MARK, MARKED, publish_marked

CALLERS = 4
PAUSE = 0.01
PATIENCE_SECONDS = 30


@dataclass
class Answered:
    """What callers got.

    Attributes:
        builds: numbers of the builds that answered.
        failed: answers that were none, in words.
        mixed: answers of two builds, in words.
        milliseconds: of each answer.

    """

    builds: set[int] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def at(self, share: float) -> float:
        """The milliseconds that this share of the answers did not exceed."""
        ordered = sorted(self.milliseconds) or [0.0]
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


class ReverseProxy:
    """Sends each request to the next replica, and to the other one where that does not answer."""

    def __init__(self, replicas: Sequence[str]) -> None:
        self._replicas, self._next = list(replicas), count()
        self._client = httpx.AsyncClient(timeout=5, trust_env=False, limits=httpx.Limits(max_connections=50))
        self.retried = 0

    async def answer(self, request: Request) -> Response:
        """The answer of whichever replica gives one."""
        first = next(self._next)
        body = await request.body()
        for turn in range(len(self._replicas)):
            replica = self._replicas[(first + turn) % len(self._replicas)]
            try:
                answer = await self._client.request(
                    request.method,
                    f"{replica}{request.url.path}?{request.url.query}",
                    content=body,
                    headers={"authorization": request.headers["authorization"]},
                )
            except httpx.TransportError:
                self.retried += 1
                continue
            if answer.status_code != 503:
                named = {name: answer.headers[name] for name in ("traithouse-build",) if name in answer.headers}
                return Response(answer.content, answer.status_code, named)
        return Response(b"no replica answers", 502)


@contextmanager
def proxying(replicas: Sequence[str]) -> Iterator[tuple[str, ReverseProxy]]:
    """A proxy on loopback."""
    proxy = ReverseProxy(replicas)
    app = Starlette(routes=[Route("/{path:path}", proxy.answer, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    ends = time.monotonic() + PATIENCE_SECONDS
    while not server.started:
        assert time.monotonic() < ends
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", proxy
    server.should_exit = True
    thread.join(10)


def ask_on(url: str, key: str, users: Sequence[str], ending: threading.Event, answered: Answered) -> None:
    """Asks for one user after the other, and looks whether an answer is of one build."""
    with httpx.Client(headers=bearer(key), timeout=10, trust_env=False) as client:
        for number in count():
            if ending.is_set():
                return
            began = time.perf_counter()
            try:
                answer = client.get(f"{url}/v1/users/{users[number % len(users)]}/traits", params={"trait": MARKED})
            except httpx.HTTPError as error:
                answered.failed.append(type(error).__name__)
                continue
            answered.milliseconds.append(1000 * (time.perf_counter() - began))
            if answer.status_code != 200:
                answered.failed.append(f"{answer.status_code}: {answer.text[:100]}")
                continue
            told = answer.json()
            held = told["traits"][MARKED]
            builds = {answer.headers["traithouse-build"], told["build_id"], held["build_id"]}
            builds |= {f"{int(held['score']):06d}{told['build_id'][6:]}"}
            answered.builds.add(int(told["build_id"][:6]))
            if len(builds) > 1:
                answered.mixed.append(str(sorted(builds)))
            time.sleep(PAUSE)


def publish_under_load(folder: Path, publishes: int, notify: Callable[[str], None]) -> tuple[Answered, int]:
    """Publishes so many builds while callers ask; a third of the way one replica is killed, later one is upgraded."""
    fixture = cached_fixture()
    home = fixture.copy(fixture.written, folder / "home")
    home = Home(home.settings.model_copy(update={"serve_to": str(folder / "place")}))
    project = fixture.project_of(home)
    key = add_key(home.serving, "callers", "reader")
    assert in_child(lambda: publish_marked(home, project, FIRST_MARK)) == 0
    some = (
        f"select entity_id from traits.trait_values where trait = '{MARKED}' and is_anonymous is not true"
        " order by 1 limit 50"
    )
    users = [entity_id for (entity_id,) in served(home, some)]

    def replica(port: str = "0") -> Process:
        environment = {"TRAITHOUSE_SERVE_FROM": str(folder / "place"), "TRAITHOUSE_SERVE_PORT": port}
        return Process([], environment, folder / f"serve-{time.monotonic_ns()}.log")

    def again(before: Process, *, kill: bool) -> Process:
        before.end(kill=kill)
        time.sleep(1)
        return replica(before.url.rpartition(":")[2])

    replicas = [replica(), replica()]
    answered, ending = Answered(), threading.Event()
    try:
        with proxying([process.url for process in replicas]) as (url, proxy):
            callers = [
                threading.Thread(target=ask_on, args=(url, key, users, ending, answered)) for _ in range(CALLERS)
            ]
            for caller in callers:
                caller.start()
            try:
                for number in range(publishes):
                    assert in_child(lambda number=number: publish_marked(home, project, FIRST_MARK + 1 + number)) == 0
                    if number == publishes // 3:
                        notify(f"{number + 1} of {publishes} published; a replica is killed")
                        replicas[0] = again(replicas[0], kill=True)
                    if number == 2 * publishes // 3:
                        notify(f"{number + 1} of {publishes} published; the other replica is upgraded")
                        replicas[1] = again(replicas[1], kill=False)
                time.sleep(3)
            finally:
                ending.set()
                for caller in callers:
                    caller.join(30)
    finally:
        for process in replicas:
            process.end(kill=True)
    assert max(answered.builds) == FIRST_MARK + publishes, "the last build was never served"
    return answered, proxy.retried


def main(arguments: Sequence[str]) -> int:
    """Publishes under load, and prints what callers got."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--publishes", type=int, default=100)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        answered, retried = publish_under_load(
            Path(name), given.publishes, lambda text: print(text, file=sys.stderr, flush=True)
        )
    head = ("publishes", "requests", "builds seen", "failed", "mixed", "asked a second replica", "p50 ms", "p99 ms")
    row = (
        given.publishes,
        len(answered.milliseconds),
        len(answered.builds),
        len(answered.failed),
        len(answered.mixed),
        retried,
        answered.at(0.5),
        answered.at(0.99),
    )
    print(table(head, [row]))
    print(*[*answered.failed, *answered.mixed][:10], sep="\n")
    return 1 if answered.failed or answered.mixed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
