"""What destinations behind HTTP share: the client, and what an answer means.

TLS certificates are always checked, and redirects are never followed. Plain http is allowed to this machine only,
unless a destination allows more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, ClassVar

import httpx

from orchestration.declarations.syncs import Sync
from orchestration.destinations import (
    ClosedError,
    Destination,
    Failure,
    LimitedError,
    Options,
    Outcomes,
    Record,
    RefusedError,
    UnavailableError,
)
from orchestration.destinations._pace import Pace
from orchestration.errors import UsageError

ANSWER_BYTES = 16 << 20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class HttpOptions(Options):
    """How the vendor is called.

    Attributes:
        base_url: address, where it is not the vendor's usual one (a region, a proxy, a stand-in).
        timeout_seconds: how long a call may take.

    """

    tuning: ClassVar[frozenset[str]] = frozenset({"timeout_seconds"})
    base_url: str = ""
    timeout_seconds: float = 30.0


class HttpDestination(Destination):
    """A destination behind HTTP.

    Attributes:
        base_url: the vendor's usual address.
        retried: statuses, besides 5xx, after which the same call may go through later.
        limited: those of ``retried`` that ask for a pause.

    """

    remote: ClassVar[bool] = True
    base_url: ClassVar[str]
    retried: ClassVar[frozenset[int]] = frozenset({408, 425, 429})
    limited: ClassVar[frozenset[int]] = frozenset({429})
    options_type: ClassVar[type[Options]] = HttpOptions

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        super().__init__(sync, outbox, pace)
        self._renewing = threading.Lock()
        self._client = httpx.Client(
            base_url=self.address(),
            timeout=self.options.timeout_seconds,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=self.workers, max_keepalive_connections=self.workers),
        )

    def address(self) -> str:
        """The vendor's address, from the options.

        Raises:
            UsageError: it is neither https nor this machine.

        """
        address: str = self.options.base_url or self.base_url
        return checked_address(address, "options.base_url")

    def headers(self) -> Mapping[str, str]:
        """Headers of every call, with the key; read again after ``renew``."""
        return {}

    def renew(self) -> bool:
        """Gets a new token after a 401, and says whether there is one."""
        return False

    def is_final(self, answer: httpx.Response) -> bool:
        """Whether the answer says that nothing goes through before a person acts, or before another day begins."""
        return False

    def seconds_to_wait(self, answer: httpx.Response) -> float | None:
        """Seconds after which to try again: by Retry-After (RFC 9110, 10.2.3), or by the vendor's own headers."""
        return retry_after(answer)

    def error_text(self, answer: httpx.Response) -> str:
        """What the vendor says is wrong."""
        try:
            content = answer.json()
        except ValueError:
            return answer.text
        if isinstance(content, dict):
            return str(content.get("message") or content.get("error") or content)
        return str(content)

    def call(
        self,
        method: str,
        path: str,
        *,
        accepted: tuple[int, ...] = (),
        headers: Mapping[str, str] | None = None,
        **given: Any,
    ) -> httpx.Response:
        """Makes a call under the limits, and returns an answer of 2xx or of a status in ``accepted``.

        Raises:
            RefusedError: another answer of 4xx.
            UnavailableError: no answer, or an answer after which the call may go through later.
            ClosedError: the key is wrong, the answer is a redirect, or ``is_final`` says so.

        """
        key = self.headers()
        answer = self._send(method, path, {**key, **(headers or {})}, given)
        if answer.status_code == 401:
            with self._renewing:
                # Another worker may have renewed it meanwhile.
                renewed = self.headers() != key or self.renew()
            if renewed:
                answer = self._send(method, path, {**self.headers(), **(headers or {})}, given)
        status = answer.status_code
        if answer.is_success or status in accepted:
            return answer
        message = self.mask(f"answered {status}: {self.error_text(answer)}").removesuffix(":")
        if self.is_final(answer):
            raise ClosedError(message)
        if status in self.retried or answer.is_server_error:
            error_type = LimitedError if status in self.limited else UnavailableError
            raise error_type(message, self.seconds_to_wait(answer))
        if status in (401, 403):
            raise ClosedError(f"{message} (check that the key is right and allowed to write)")
        if answer.is_redirect:
            raise ClosedError(f"answered {status}: a redirect, which is not followed (declare the address itself)")
        raise RefusedError(message)

    def deliver_each(self, records: Sequence[Record], send: Callable[[Record], Failure | None]) -> Outcomes:
        """Sends record by record, so that a later failure does not send earlier records again.

        ``send`` may also raise what ``call`` raises. When nobody answers, the rest of the batch is not sent.
        """
        outcomes: Outcomes = []
        for record in records:
            try:
                outcomes.append(send(record))
            except RefusedError as error:
                outcomes.append(Failure(str(error)))
            except UnavailableError as error:
                if not outcomes:
                    raise
                if error.seconds:
                    self.pace.pause(error.seconds)
                outcomes += [Failure(str(error), again=True)] * (len(records) - len(outcomes))
                break
        return outcomes

    def _send(self, method: str, path: str, headers: Mapping[str, str], given: Mapping[str, Any]) -> httpx.Response:
        self.pace.take()
        try:
            with self._client.stream(method, path, headers=headers, **given) as answer:
                body = b""
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES:
                        raise UnavailableError(f"the answer is larger than {ANSWER_BYTES} bytes")
                decoded = ("content-encoding", "content-length")
                plain = [(name, value) for name, value in answer.headers.items() if name not in decoded]
                return httpx.Response(answer.status_code, headers=plain, content=body, request=answer.request)
        except httpx.InvalidURL:
            raise UsageError(
                f"{self.sync.where}: the address is not a URL.", "Write it as https://host/path."
            ) from None
        except httpx.HTTPError as error:
            raise UnavailableError(f"no answer: {type(error).__name__}") from None

    def close(self) -> None:
        """Closes the connection pool."""
        self._client.close()


def json_of(answer: httpx.Response) -> Any:
    """The answer's JSON.

    Raises:
        UnavailableError: it is not JSON, so nobody knows whether the records were taken.

    """
    try:
        return answer.json()
    except ValueError:
        raise UnavailableError(f"answered {answer.status_code} with something that is not JSON") from None


def checked_address(address: str, where: str) -> str:
    """An address that secrets and personal data may be sent to; ``where`` is what messages call it.

    Raises:
        UsageError: it is not a URL, or neither https nor this machine.

    """
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if not url.host or url.scheme not in ("https", "http"):
        raise UsageError(f"{where} is not a URL.", "Write it as https://host/path.")
    if url.scheme == "http" and url.host not in _LOOPBACK:
        raise UsageError(f"{where} is not encrypted.", "Use an address that begins with https://.")
    return address


def retry_after(answer: httpx.Response) -> float | None:
    """Seconds that Retry-After asks for, given in seconds or as a date; null when it is neither."""
    header = answer.headers.get("retry-after", "")
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        seconds: float = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        return max(0.0, seconds)
    except (TypeError, ValueError):
        return None
