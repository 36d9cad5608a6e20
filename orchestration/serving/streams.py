"""Streams of server-sent events: a browser learns that its user's flags changed, a workflow engine reads the ledger on.

A stream is a plain ASGI application, because thousands of them are open at a time and each costs memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from orchestration.serving.access import Caller, RequestError
from orchestration.serving.answers import MOST_ROWS, changes
from orchestration.serving.lookup import Lookups

HEARTBEAT_SECONDS = 15
# So long a stream stays open; its client connects again by itself, with a fresh token.
LONGEST_SECONDS = 3_600
# The client's wait before it connects again, in milliseconds.
_RETRY = b"retry: 1000\n\n"
# What to send, and whether there is more to read at once.
Found = tuple[bytes, bool]
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class Announcer:
    """Tells all streams that what is served has changed, or that the server ends."""

    def __init__(self) -> None:
        self._next: asyncio.Future[bool] | None = None
        self.open = 0
        self.is_closed = False

    def next(self) -> asyncio.Future[bool]:
        """Done at the next change."""
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_future()
        return self._next

    def announce(self) -> None:
        """Wakes every stream."""
        if self._next is not None and not self._next.done():
            self._next.set_result(True)

    def close(self) -> None:
        """Ends every stream."""
        self.is_closed = True
        self.announce()


class EventStream:
    """One open stream; ``read`` returns what there is to send now, and whether there is more to read at once."""

    def __init__(self, announcer: Announcer, read: Callable[[], Found], headers: Sequence[tuple[bytes, bytes]]) -> None:
        self._announcer, self._read, self._headers = announcer, read, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the client goes, the server ends, or the time is over."""
        self._announcer.open += 1
        gone = asyncio.ensure_future(_disconnected(receive))
        loop = asyncio.get_running_loop()
        ends = loop.time() + LONGEST_SECONDS
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *self._headers]})
            await send(_part(_RETRY))
            changed = True
            while not gone.done() and not self._announcer.is_closed and loop.time() < ends:
                waiting = self._announcer.next()
                found, more = self._read() if changed else (b": still here\n\n", False)
                if found:
                    await send(_part(found))
                if more:
                    await asyncio.sleep(0)
                    continue
                await asyncio.wait((gone, waiting), timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                changed = waiting.done()
            if not gone.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._announcer.open -= 1


class FlagReader:
    """Tells one user's page to evaluate again, when what is served of that user has changed."""

    def __init__(self, lookups: Lookups, caller: Caller) -> None:
        self._lookups, self._caller = lookups, caller
        self._mark = self._marked()

    def __call__(self) -> Found:
        """An event where something changed; nothing else."""
        mark = self._marked()
        if mark == self._mark:
            return b"", False
        self._mark = mark
        lookup = self._lookups.current
        told = orjson.dumps({"type": "refetchEvaluation", "etag": lookup.build_id}).decode()
        return f"id: {lookup.build_id}\ndata: {told}\n\n".encode(), False

    def _marked(self) -> int:
        lookup = self._lookups.current
        return hash((lookup.entity_row("user", self._caller.subject), lookup.catalogue_mark))


class ChangeReader:
    """Rows of the ledger after a number, each as an event with its number as id."""

    def __init__(self, lookups: Lookups, caller: Caller, after: int) -> None:
        self._lookups, self._caller, self._after = lookups, caller, after

    def __call__(self) -> Found:
        """A page of what there is after the last; a number that is no longer served gives an event ``gone``."""
        lookup = self._lookups.current
        newest = int(lookup.facts["newest_seq"])
        try:
            page = changes(lookup, self._caller, self._after, MOST_ROWS)
        except RequestError as error:
            told = orjson.dumps({"error": {"code": error.code, "message": error.message}}).decode()
            self._after = newest
            return f"event: {error.code}\ndata: {told}\n\n".encode(), False
        self._after = page["next"]
        events = (f"id: {row['seq']}\nevent: change\ndata: {orjson.dumps(row).decode()}\n\n" for row in page["changes"])
        return "".join(events).encode(), self._after < newest


async def _disconnected(receive: Receive) -> None:
    message: Message = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()


def _part(body: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": True}
