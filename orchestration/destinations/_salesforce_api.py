"""The Salesforce REST API as upserts, queries and jobs share it: sign-in, paths, and what errors mean."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

import httpx
from pydantic import Field

from orchestration.declarations.syncs import Sync
from orchestration.destinations import ClosedError, Failure, Options, Record, UnavailableError
from orchestration.destinations._http import HttpDestination, HttpOptions, json_of
from orchestration.destinations._pace import Pace

# Codes of a record after which the same record may go through.
_AGAIN = ("UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG", "QUERY_TIMEOUT")
# RFC 6749, 5.2.
_TOKEN_ERRORS = (
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
)
# Codes of a call: object, field or version are not there, or this user may not see them.
_MISMAPPED = ("INVALID_FIELD", "INVALID_TYPE", "NOT_FOUND")


class SalesforceOptions(HttpOptions):
    """Which organisation.

    Attributes:
        base_url: its My Domain address, https://<name>.my.salesforce.com.
        client_id_env: name of the environment variable that holds the consumer key.
        client_secret_env: name of the environment variable that holds the consumer secret.
        api_version: of REST and Bulk API.
        bulk_from: a run of so many records or more goes through Bulk API 2.0.
        permission_set: API name of the permission set that may edit fields which ``sync --prepare`` creates.

    """

    tuning: ClassVar[frozenset[str]] = HttpOptions.tuning | {"permission_set"}

    base_url: str
    client_id_env: str = "SALESFORCE_CLIENT_ID"
    client_secret_env: str = "SALESFORCE_CLIENT_SECRET"  # noqa: S105 the name of a variable
    api_version: str = Field(default="66.0", pattern=r"^\d+\.0$")
    bulk_from: int = Field(default=4_000, ge=201)
    permission_set: str = Field(default="", pattern=r"^\w*$")


class SalesforceApi(HttpDestination):
    """Calls to one organisation.

    Attributes:
        first_poll_seconds: wait before a job is first asked for; each later wait is twice as long.
        longest_poll_seconds: the longest of these waits.
        bulk_patience_seconds: a job that takes longer is aborted.
        readings: how often a reading call is tried while a job depends on it.

    """

    base_url: ClassVar[str] = ""
    # A 403 may ask for a pause, too; ``is_final`` tells which one does not.
    retried: ClassVar[frozenset[int]] = HttpDestination.retried | {403}
    limited: ClassVar[frozenset[int]] = HttpDestination.limited | {403}
    options_type: ClassVar[type[Options]] = SalesforceOptions
    first_poll_seconds: ClassVar[float] = 1.0
    longest_poll_seconds: ClassVar[float] = 20.0
    bulk_patience_seconds: ClassVar[float] = 3600.0
    readings: ClassVar[int] = 5

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        super().__init__(sync, outbox, pace)
        self._token = ""
        self._signing_in = threading.Lock()

    def headers(self) -> dict[str, str]:
        """The token; the first call gets one."""
        with self._signing_in:
            if not self._token:
                self.renew()
        return {"authorization": f"Bearer {self._token}"}

    def renew(self) -> bool:
        """Asks for a token with the key and secret of the app."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.secret(self.options.client_id_env),
            "client_secret": self.secret(self.options.client_secret_env),
        }
        answer = self._send("POST", "/services/oauth2/token", {}, {"data": form})
        if answer.status_code == 429 or answer.is_server_error:
            raise UnavailableError(f"no token: answered {answer.status_code}", self.seconds_to_wait(answer))
        content = json_of(answer)
        said = content if isinstance(content, dict) else {}
        token = said.get("access_token") if answer.status_code == 200 else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
            # Nothing of the body is quoted but a code of the standard: it may hold the secret in any spelling.
            code = said.get("error") if said.get("error") in _TOKEN_ERRORS else "the answer has no token"
            raise ClosedError(f"no token: answered {answer.status_code}: {code}")
        self._token = token
        self._secrets.add(token)
        return True

    def error_text(self, answer: httpx.Response) -> str:
        """Codes and messages, or those of the token's answer."""
        errors = _call_errors(answer)
        if errors:
            return "; ".join(f"{error.get('errorCode')}: {error.get('message')}" for error in errors)
        return super().error_text(answer)

    def is_final(self, answer: httpx.Response) -> bool:
        """Whether rights are missing, a day's allowance is used up, or an object or field is not there."""
        if answer.status_code == 403:
            return "Concurrent" not in self.error_text(answer)
        return any(error.get("errorCode") in _MISMAPPED for error in _call_errors(answer))

    def path(self, call: str) -> str:
        """Path of a call of the declared version."""
        return f"/services/data/v{self.options.api_version}/{call}"

    def row(self, record: Record, key: str, value: str) -> dict[str, Any]:
        """A record as a row of a collection, known by a field and its value."""
        return {"attributes": {"type": self.object_name}, key: value, **record.fields}

    def failure(self, code: str, message: str) -> Failure:
        """What an error of one record means."""
        return Failure(self.mask(f"{code}: {message}"), again=code in _AGAIN)


def _call_errors(answer: httpx.Response) -> list[dict[str, Any]]:
    """Errors of a call as a whole."""
    try:
        content = answer.json()
    except (ValueError, RecursionError):
        return []
    return [error for error in content if isinstance(error, dict)] if isinstance(content, list) else []
