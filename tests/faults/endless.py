"""Servers that never end: every destination behind HTTP stops by itself, with few calls, in bounded time and memory.

    python -m tests.faults.endless            # a minute; --only hubspot

- drip: one byte of the answer every tenth of a second, for ever.
- bomb: an answer of 200 KB that unpacks to 200 MB.
- 429: every call is limited, with ``Retry-After: 0``.
- 503: every call fails.

The servers answer over loopback. Twenty records are delivered by a run like any other, with its real waits; all kinds
at the same time. Ends with 1 if a record is acknowledged, if a run takes more than a hundred seconds or a hundred calls
for each record, or if the process, with all runs at once, grows by more than 600 MB.
"""

from __future__ import annotations

import argparse
import gzip
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from orchestration.destinations._pace import Pace
from orchestration.home import Home, Settings, silent
from orchestration.sync.deliver import deliver
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.validate import destination_of
from tests.faults.answers import HTTP_NAMES
from tests.faults.destinations import records_of
from tests.faults.fixture import table
from tests.orchestration.destinations.standins import HttpStandIn, standin

KINDS = ("drip", "bomb", "429", "503")
RECORDS = 20
CALL_SECONDS = 1.0
MOST_SECONDS, MOST_CALLS, MOST_MEGABYTES = 100, 100, 600
BOMB = gzip.compress(bytes(200 << 20))


@dataclass(frozen=True)
class Stopped:
    """How a run against a server without end stopped."""

    name: str
    kind: str
    calls: int
    seconds: float
    acknowledged: int
    in_doubt: int
    said: str


@contextmanager
def endless(kind: str) -> Iterator[tuple[int, list[str]]]:
    """A server's port, and the calls that it got."""
    calls: list[str] = []
    ending = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            calls.append(f"{self.command} {self.path}")
            try:
                getattr(self, f"answer_{kind}")()
            except OSError:
                self.close_connection = True

        def answer_drip(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "1000000")
            self.end_headers()
            while not ending.wait(0.1):
                self.wfile.write(b" ")

        def answer_bomb(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-encoding", "gzip")
            self.send_header("content-length", str(len(BOMB)))
            self.end_headers()
            self.wfile.write(BOMB)

        def answer_429(self) -> None:
            self.send_response(429)
            self.send_header("retry-after", "0")
            self.send_header("content-length", "0")
            self.end_headers()

        def answer_503(self) -> None:
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Who hangs up is no news."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield server.server_address[1], calls
        finally:
            ending.set()
            server.shutdown()


def stopped(name: str, kind: str, folder: Path) -> Stopped:
    """Delivers to a server without end until the run gives up."""
    target = standin(name)
    assert isinstance(target, HttpStandIn)
    with endless(kind) as (port, calls):
        target.port = port
        sync = target.sync()
        sync = sync.model_copy(update={"options": sync.options | {"timeout_seconds": CALL_SECONDS}})
        # An address that is a secret comes from the environment, which all kinds share.
        for variable, value in target.environment().items():
            if value.startswith(target.url):
                os.environ[f"{variable}_{kind}"] = value
                sync = sync.model_copy(update={"options": sync.options | {"url_env": f"{variable}_{kind}"}})
        home = Home(Settings(home=folder / f"{name}-{kind}", env="production"))
        records = records_of(target, 0, range(RECORDS))
        begun = time.monotonic()
        with SyncLedger(home) as ledger, closing(destination_of(sync)(sync, home.outbox, Pace())) as destination:
            done = deliver(destination, records, ledger, silent)
            doubt = len(ledger.in_doubt(sync.name))
        seconds = time.monotonic() - begun
        return Stopped(name, kind, len(calls), seconds, done.delivered, doubt, done.closed or done.error)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Servers that never end.")
    parser.add_argument("--only", choices=HTTP_NAMES)
    asked = parser.parse_args(arguments)
    names = [asked.only] if asked.only else HTTP_NAMES
    for name in names:
        target = standin(name)
        assert isinstance(target, HttpStandIn)
        os.environ.update(target.environment())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wanted = [(name, kind) for name in names for kind in KINDS]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(wanted)) as pool:
        found = list(pool.map(lambda pair: stopped(*pair, Path(folder)), wanted))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    columns = ("destination", "server", "calls", "seconds", "acknowledged", "in doubt", "said")
    print(
        table(
            columns,
            [(s.name, s.kind, s.calls, f"{s.seconds:.1f}", s.acknowledged, s.in_doubt, s.said[:60]) for s in found],
        )
    )
    print(f"memory grew by {grown:.0f} MB, all at the same time")
    bad = [s for s in found if s.acknowledged or s.seconds > MOST_SECONDS or s.calls > MOST_CALLS * RECORDS]
    return 1 if bad or grown > MOST_MEGABYTES else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
