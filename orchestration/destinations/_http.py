"""What destinations behind HTTP share: the client, and what an answer means.

TLS certificates are always checked, and redirects are never followed. Plain http is allowed to this machine only,
unless a destination allows more.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

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
from orchestration.destinations._client import LOOPBACK, OversizedAnswerError, bounded_call, bounded_client
from orchestration.destinations._pace import Pace
from orchestration.errors import UsageError

_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")


class HttpOptions(Options):
    """How the vendor is called.

    Attributes:
        base_url: address, where it is not the vendor's usual one (a region, a proxy, a stand-in).
        timeout_seconds: how long a call may take, from the first byte sent to the last byte read.

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
        address = self.address()
        self._client = bounded_client(address, self.options.timeout_seconds, workers=self.workers, base_url=address)

    def address(self) -> str:
        """The vendor's address, from the options.

        Raises:
            UsageError: it is neither https nor this machine.

        """
        address: str = self.options.base_url or self.base_url
        return checked_address(address, "options.base_url")

    def secret(self, variable: str) -> str:
        """A secret that a header can hold.

        Raises:
            UsageError: it is not set, or has a character that no key has.

        """
        value = super().secret(variable)
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise UsageError(
                f"{self.sync.where}: the environment variable {variable} has a character that no key has"
                " (a line end, a space around it, or a letter that is not ASCII).",
                f"Set {variable} again, without it.",
            )
        return value

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
        except (ValueError, RecursionError):
            return answer.text
        if isinstance(content, dict):
            return str(content.get("message") or content.get("error") or content)
        return str(content)

    def call(
        self,
        method: str,
        path: str,
        *,
        success: tuple[int, ...],
        accepted: tuple[int, ...] = (),
        headers: Mapping[str, str] | None = None,
        **given: Any,
    ) -> httpx.Response:
        """Makes a call under the limits, and returns an answer of a status in ``success`` or ``accepted``.

        Args:
            method: of HTTP.
            path: under the address.
            success: every status that the vendor documents as success of this call.
            accepted: other statuses that the caller reads itself.
            headers: besides those of ``headers()``.
            given: body and parameters, as httpx takes them.

        Raises:
            RefusedError: another answer of 4xx.
            UnavailableError: no answer, an answer after which the call may go through later, or a 2xx that is not
                documented, so that nobody knows what was done.
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
        if status in success or status in accepted:
            return answer
        if status < 300:
            raise UnavailableError(f"answered {status}, which is not documented as success of this call")
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
            return bounded_call(self._client, method, path, self.options.timeout_seconds, headers=headers, **given)
        except OversizedAnswerError as error:
            raise UnavailableError(str(error)) from None
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
    except (ValueError, RecursionError):
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
    if url.scheme == "http" and url.host not in LOOPBACK:
        raise UsageError(f"{where} is not encrypted.", "Use an address that begins with https://.")
    return address


def json_object(answer: httpx.Response) -> dict[str, Any]:
    """The answer's JSON, which has to be an object.

    Raises:
        UnavailableError: it is not, so nobody knows whether the records were taken.

    """
    content = json_of(answer)
    if not isinstance(content, dict):
        raise UnavailableError(f"answered {answer.status_code} with JSON that is no object")
    return content


def vendor_id(value: object) -> str:
    """An id that an answer gave and that the path of the next call will have: only letters, digits, - and _.

    Raises:
        UnavailableError: it is something else, which could lead to another record.

    """
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    text = str(value) if isinstance(value, str) or is_number else ""
    if not _ID.fullmatch(text):
        raise UnavailableError("the answer has an id that cannot be part of a path")
    return text


def path_segment(identifier: str) -> str:
    """An identifier as one segment of a path.

    Raises:
        RefusedError: a path cannot hold it: a dot or two dots mean another address, even when they are quoted.

    """
    if identifier in ("", ".", ".."):
        raise RefusedError("the identifier cannot be part of a path")
    return quote(identifier, safe="")


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
    except (TypeError, ValueError, LookupError, OverflowError):
        return None
