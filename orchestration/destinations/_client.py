"""HTTP with bounds: one deadline for the whole of a call, and a most for what an answer may hold once unpacked.

A timeout of httpx holds for each read, so an answer that drips a byte a second would never end. Here every read and
write of a call gets only what is left of the call's own time: head, body, TLS and upload alike.
"""

from __future__ import annotations

import ssl
import threading
import time
import zlib
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

ANSWER_BYTES = 16 << 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PART_BYTES = 64 << 10


class OversizedAnswerError(Exception):
    """An answer is larger than ``ANSWER_BYTES``, packed or unpacked, or packed in a way that was not asked for."""


class _Deadline(threading.local):
    """When the call of this thread has to end, by the monotonic clock."""

    until = float("inf")

    def left(self, timeout: float | None, error: type[Exception]) -> float | None:
        """Seconds that the next step may take.

        Raises:
            error: no time is left.

        """
        if self.until == float("inf"):
            return timeout
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise error("the whole call took too long")
        return seconds if timeout is None else min(seconds, timeout)


_DEADLINE = _Deadline()


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every step ends with the call."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _DEADLINE.left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PART_BYTES):
            left = _DEADLINE.left(timeout, httpcore.WriteTimeout)
            self._stream.write(buffer[start : start + _PART_BYTES], left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _DEADLINE.left(timeout, httpcore.ConnectTimeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _TimedBackend(httpcore.NetworkBackend):
    """Makes connections whose every step ends with the call."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _DEADLINE.left(timeout, httpcore.ConnectTimeout)
        return _TimedStream(self._backend.connect_tcp(host, port, left, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


def bounded_client(address: str, seconds: float, *, workers: int = 1, **given: Any) -> httpx.Client:
    """A client for ``bounded_call``; proxies of the environment are not used for this machine itself."""
    client = httpx.Client(
        timeout=seconds,
        follow_redirects=False,
        trust_env=httpx.URL(address).host not in LOOPBACK,
        headers={"accept-encoding": "gzip"},
        limits=httpx.Limits(max_connections=workers, max_keepalive_connections=workers),
        **given,
    )
    # httpx has no public way to give its transports a backend; the tests of dripping answers hold this in place.
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _TimedBackend(transport._pool._network_backend)
    return client


def bounded_call(client: httpx.Client, method: str, url: str, seconds: float, **given: Any) -> httpx.Response:
    """Makes a call that ends within so many seconds, and returns its answer, read and unpacked.

    Raises:
        httpx.HTTPError: no answer, or not within the time.
        OversizedAnswerError: the answer is too large.

    """
    _DEADLINE.until = time.monotonic() + seconds
    try:
        with client.stream(method, url, **given) as answer:
            packing = answer.headers.get("content-encoding", "identity").strip().lower()
            body = _unpacked(answer.iter_raw(), packing)
            dropped = ("content-encoding", "content-length", "transfer-encoding")
            headers = [(name, value) for name, value in answer.headers.multi_items() if name not in dropped]
            return httpx.Response(answer.status_code, headers=headers, content=body, request=answer.request)
    finally:
        _DEADLINE.until = float("inf")


def _unpacked(parts: Iterable[bytes], packing: str) -> bytes:
    """The body; no more than ``ANSWER_BYTES`` of it are ever in memory."""
    if packing not in ("identity", "", "gzip", "x-gzip"):
        raise OversizedAnswerError("the answer is packed in a way that was not asked for")
    gzip = zlib.decompressobj(wbits=31) if packing.endswith("gzip") else None
    body, received = bytearray(), 0
    for part in parts:
        received += len(part)
        try:
            body += gzip.decompress(part, ANSWER_BYTES + 1 - len(body)) if gzip else part
        except zlib.error:
            raise OversizedAnswerError("the answer cannot be unpacked") from None
        if max(received, len(body)) > ANSWER_BYTES:
            raise OversizedAnswerError(f"the answer is larger than {ANSWER_BYTES} bytes")
    if gzip and received and not gzip.eof:
        raise OversizedAnswerError("the answer cannot be unpacked")
    return bytes(body)
