"""Calls that have an end: answers that drip, packed answers that never stop, proxies, paths, keys."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, quote_plus

import httpx
import pytest

from orchestration.destinations import RefusedError, UnavailableError
from orchestration.destinations._client import ANSWER_BYTES, OversizedAnswerError, bounded_call, bounded_client
from orchestration.destinations._http import path_segment, retry_after, vendor_id
from orchestration.destinations._masking import masked
from orchestration.errors import UsageError
from orchestration.home import Home, Settings
from orchestration.sync.validate import destination_of
from tests.orchestration.destinations.standins import standin

SECONDS = 0.5


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that gives every connection to a function; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        answer(connection)
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def called(address: str, **given: object) -> httpx.Response:
    with bounded_client(address, SECONDS) as client:
        return bounded_call(client, "POST", address, SECONDS, **given)


def drip(connection: socket.socket, content: bytes) -> None:
    for byte in content:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def head_drips(connection: socket.socket) -> None:
    connection.recv(65536)
    drip(connection, b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 200)


def body_drips(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n")
    drip(connection, b"x" * 200)


def upload_stalls(connection: socket.socket) -> None:
    while connection.recv(1000):
        time.sleep(0.05)


@pytest.mark.parametrize("answer", [head_drips, body_drips, upload_stalls])
def test_a_call_ends_in_its_time_although_something_always_moves(answer: Callable[[socket.socket], None]) -> None:
    with listening(answer) as address:
        begun = time.monotonic()
        with pytest.raises(httpx.TimeoutException):
            called(address, content=b"x" * (20 << 20))
        assert time.monotonic() - begun < SECONDS + 1


def test_a_packed_answer_is_unpacked_no_further_than_an_answer_may_be_large() -> None:
    bomb = gzip.compress(bytes(ANSWER_BYTES * 8))
    assert len(bomb) < 200_000

    def explode(connection: socket.socket) -> None:
        connection.recv(65536)
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(bomb)}\r\n\r\n"
        connection.sendall(head.encode() + bomb)

    with listening(explode) as address, pytest.raises(OversizedAnswerError, match="larger than 16777216 bytes"):
        called(address)


@pytest.mark.parametrize("packing", ["br", "zstd", "deflate", "gzip, gzip"])
def test_an_answer_packed_in_another_way_than_asked_for_is_not_read(packing: str) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 200 OK\r\ncontent-encoding: {packing}\r\ncontent-length: 2\r\n\r\n{{}}".encode())

    with listening(answer) as address, pytest.raises(OversizedAnswerError):
        called(address)


@pytest.mark.parametrize("cut", [False, True])
def test_a_packed_answer_counts_only_when_it_is_whole(cut: bool) -> None:
    packed = gzip.compress(b'{"results": []}')[: -9 if cut else None]

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n"
        connection.sendall(head.encode() + packed)

    with listening(answer) as address:
        if not cut:
            assert called(address).json() == {"results": []}
            return
        with pytest.raises(OversizedAnswerError):
            called(address)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_this_machine_is_called_without_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with listening(answer) as address:
        assert called(address).status_code == 204


@pytest.mark.parametrize("said", ["0", "-5", "nan", "-inf", "Wed, 21 Oct 2015 07:28:00 GMT", "²", "", "soon"])
def test_a_pause_that_is_none_is_never_a_number_below_zero(said: str) -> None:
    error = UnavailableError("later", retry_after(httpx.Response(429, headers={"retry-after": said.encode()})))
    assert error.seconds in (None, 0.0)


@pytest.mark.parametrize("identifier", ["", ".", ".."])
def test_an_identifier_that_leads_elsewhere_is_refused(identifier: str) -> None:
    with pytest.raises(RefusedError):
        path_segment(identifier)


def test_an_identifier_stays_one_segment_of_a_path() -> None:
    assert path_segment("../a b%2F?c#d") == "..%2Fa%20b%252F%3Fc%23d"


@pytest.mark.parametrize("given", ["..", "a/b", "a%2Fb", "", "a b", "é", None, True, 1.5, ["x"], {"id": 1}, "x" * 256])
def test_an_id_of_an_answer_that_is_no_id_is_in_no_path(given: object) -> None:
    with pytest.raises(UnavailableError):
        vendor_id(given)


def test_a_secret_is_masked_in_every_spelling() -> None:
    secret = "pa+ss/w\"o'rd\\ &=x"
    spellings = {
        "as it is": secret,
        "quoted": quote(secret, safe=""),
        "quoted but for slashes": quote(secret),
        "as in a form": quote_plus(secret),
        "in small letters": quote_plus(secret).lower(),
        "quoted twice": quote(quote_plus(secret), safe=""),
        "JSON": json.dumps({"key": secret}),
        "JSON of PHP": json.dumps({"key": secret}).replace("/", "\\/"),
        "repr": repr(secret),
        "repr of bytes": repr(secret.encode()),
        "hexadecimal": secret.encode().hex(),
        "base64": base64.b64encode(secret.encode()).decode(),
        "base64 of URLs": base64.urlsafe_b64encode(secret.encode()).decode(),
    }
    spellings |= {
        f"base64 after {user}": base64.b64encode(f"{user}:{secret}".encode()).decode() for user in ("a", "ab", "abc")
    }
    for name, text in spellings.items():
        left = masked(f"answered 400: {text}.", {secret})
        assert "***" in left, name
        assert not any(part in left for part in ("ss/w", "ss%2", "ss\\/w", "rd", "cmQ", "NzL3")), name


@pytest.mark.parametrize("wrong", ["k3y-0\n", " k3y-0", "k3y-é", "k3y\x00-0", "k3y\r\n-0", "k3y-0\u200b"])
def test_a_key_with_a_character_that_no_key_has_is_refused_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    made = standin("braze")
    made.port = 9  # type: ignore[attr-defined]
    monkeypatch.setattr("os.environ", {"BRAZE_API_KEY": wrong})
    home = Home(Settings(home=tmp_path))
    with closing(destination_of(made.sync())(made.sync(), home.outbox)) as destination:
        with pytest.raises(UsageError, match="BRAZE_API_KEY has a character that no key has") as caught:
            destination.headers()  # type: ignore[attr-defined]
        assert wrong not in caught.value.message
