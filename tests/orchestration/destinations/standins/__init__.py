"""What behaves like the destinations, one file each, found by the destination's name.

A stand-in keeps records as the vendor does (semantics, field types, limits, partial results), written from the vendor's
specification and not from the destination's code.
"""

from __future__ import annotations

import importlib
import json
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from orchestration.declarations.syncs import Sync


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one call.

    Attributes:
        kind: answer (with a status, nothing done), lost (done, and the connection is cut), reset (cut, nothing done),
            slow (done, and answered too late), malformed (done, and answered with no JSON).
        status: of an answer.
        headers: of an answer.

    """

    kind: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One call as it came in."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What goes back; a body of bytes as it is, any other as JSON."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class StandIn(ABC):
    """One destination.

    Attributes:
        name: of the destination's file.
        poisoned: identifiers that it refuses, in the vendor's way (a row of a partial result, or the whole batch).
        faults: what goes wrong with the next calls that write; each is used once.

    """

    name: ClassVar[str]
    # Faults that cannot happen to it, and why.
    spared: ClassVar[Mapping[str, str]] = {}
    # Records that it can tell apart at most; only what people read has such a bound.
    most: ClassVar[int] = 1 << 30

    def __init__(self) -> None:
        self.poisoned: set[str] = set()
        self.faults: deque[Fault] = deque()

    @abstractmethod
    def declaration(self) -> dict[str, Any]:
        """Keys of the sync that name it: destination, object, identifier, identifier_field, options."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Variables that the destination reads."""

    @abstractmethod
    def state(self) -> dict[str, dict[str, Any]]:
        """Identifier -> field -> value as the sync's types say it, without fields that are empty."""

    def visible(self, fields: dict[str, Any]) -> dict[str, Any]:
        """What of a record's fields can be seen there."""
        return fields

    def sync(self, **given: Any) -> Sync:
        """A declaration that delivers here."""
        declared = {"name": "attacked", "description": "Under attack.", "traits": "all"} | self.declaration()
        return Sync.model_validate(declared | given)

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """While it can be delivered to; the folder is its own."""
        yield

    def expire_token(self) -> bool:
        """Makes the token invalid that the destination uses now; false where tokens do not expire."""
        return False


class HttpStandIn(StandIn):
    """One behind HTTP on loopback.

    Attributes:
        calls: how often each method and path was called.
        seen: identifiers of each call that wrote, in the order of the calls; what was delivered twice is here twice.

    """

    def __init__(self) -> None:
        super().__init__()
        self.port = 0
        self.calls: Counter[str] = Counter()
        self.writes: list[list[str]] = []
        self.slow_seconds = 0.6
        self.latency_seconds = 0.0
        self.lock = threading.RLock()

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @abstractmethod
    def handle(self, request: Request) -> Answer:
        """The vendor's behaviour; called under ``lock``. Appends to ``writes`` what it took."""

    def is_write(self, request: Request) -> bool:
        """Whether faults hit this call; token and search calls are spared."""
        return request.method != "GET"

    @contextmanager
    def running(self, folder: Path) -> Iterator[None]:
        """A server on a free port of loopback."""
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else each answer waits some 40 ms for the kernel to put head and body together.
            disable_nagle_algorithm = True

            def answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                path, _, query = self.path.partition("?")
                request = Request(
                    self.command,
                    path,
                    query,
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length),
                )
                with standin.lock:
                    standin.calls[f"{request.method} {request.path}"] += 1
                    fault = standin.faults.popleft() if standin.faults and standin.is_write(request) else None
                    answer = standin.handle(request) if not fault or fault.kind in _DONE else None
                if standin.latency_seconds:
                    time.sleep(standin.latency_seconds)
                if fault and fault.kind in ("lost", "reset"):
                    self.close_connection = True
                    self.connection.close()
                    return
                if fault and fault.kind == "slow":
                    time.sleep(standin.slow_seconds)
                if fault and fault.kind == "malformed":
                    self.reply(200, b"<html>", {"content-type": "text/html"})
                elif fault and fault.kind == "answer":
                    self.reply(fault.status, b"", fault.headers)
                else:
                    assert answer is not None
                    body = answer.body
                    text = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
                    self.reply(answer.status, text, {"content-type": "application/json", **answer.headers})

            def reply(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                """A connection that a fault has cut is no news."""

        server = Server(("127.0.0.1", self.port), Handler)
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()


_DONE = ("lost", "slow", "malformed")


def standin(name: str) -> StandIn:
    """The stand-in of a destination: the one class that its file defines."""
    module = importlib.import_module(f"{__name__}.{name}")
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, StandIn) and kind.__module__ == module.__name__
    ]
    assert len(kinds) == 1, f"{module.__name__} defines {len(kinds)} stand-ins"
    made: StandIn = kinds[0]()
    return made
