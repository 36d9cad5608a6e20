"""Who asks: a key of a server, or the signed token of a browser; what each may read, and how often."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from orchestration.errors import DamagedFileError
from orchestration.published.lookup_file import KEYS
from orchestration.serving.keys import PREFIX, ApiKey, Role, hash_key, read_keys
from orchestration.serving.settings import ServeSettings
from orchestration.serving.tokens import TokenError, Tokens, looks_signed

_MOST_BUCKETS = 100_000
_LONGEST_CREDENTIAL = 4_096


class RequestError(Exception):
    """A request that is not answered.

    Attributes:
        status: of HTTP.
        code: for programs.
        message: for people.
        retry_after: whole seconds to wait; 0 where waiting does not help.

    """

    def __init__(self, status: int, code: str, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after


class Caller(NamedTuple):
    """Who asks.

    Attributes:
        name: of the key, or ``browser``; never the user's id.
        key: of a server; none for a browser.
        subject: the user of a browser; empty for a server.
        purpose: only entities whose consent names it are answered; empty for any.

    """

    name: str
    key: ApiKey | None
    subject: str
    purpose: str

    def need(self, role: Role) -> None:
        """Checks that it is a server with that role.

        Raises:
            RequestError: it is not.

        """
        if self.key is None or not self.key.may(role):
            raise RequestError(403, "forbidden", f"This needs a server key with the role {role}.")

    def need_entity(self, entity_type: str, entity_id: str) -> None:
        """Checks that it may read an entity: a browser its own user alone.

        Raises:
            RequestError: it may not.

        """
        if self.key is None and (entity_type, entity_id) != ("user", self.subject):
            raise RequestError(403, "forbidden", "A browser reads its own user only: the subject of its token.")

    def sees(self, trait: Mapping[str, Any]) -> bool:
        """Whether a trait of the catalogue is served to it; a browser's token vouches for no account."""
        return self.key is not None or (trait["serve"], trait["entity_type"]) == ("browser", "user")

    def is_allowed(self, purposes: frozenset[str]) -> bool:
        """Whether what an entity consented to covers what it asks for."""
        return not self.purpose or self.purpose in purposes


class Access:
    """Checks credentials and rates.

    Args:
        folder: where keys.json is.
        settings: of the server.
        tokens: of browsers.

    """

    def __init__(self, folder: Path, settings: ServeSettings, tokens: Tokens) -> None:
        self._folder, self._settings, self._tokens = folder, settings, tokens
        self._keys: dict[str, ApiKey] = {}
        self._stamp = 0
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.trouble = ""
        self.reread()

    def reread(self) -> None:
        """Reads the keys again if their file changed; one that is damaged leaves no key."""
        try:
            stamp = (self._folder / KEYS).stat().st_mtime_ns
        except OSError:
            stamp = 0
        if stamp == self._stamp and not self.trouble:
            return
        try:
            self._keys, self._stamp, self.trouble = read_keys(self._folder), stamp, ""
        except DamagedFileError as error:
            self._keys, self.trouble = {}, error.message

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """Who asks, by ``Authorization: Bearer`` or ``X-API-Key``.

        Raises:
            RequestError: nobody that is known, or too often.

        """
        scheme, _, credential = headers.get("authorization", "").partition(" ")
        credential = credential.strip() if scheme.lower() == "bearer" else ""
        caller = self._known(credential or headers.get("x-api-key", "").strip())
        self._take(caller)
        return caller

    def stream_caller(self, token: str) -> Caller:
        """Whose stream is opened by the token of its URL.

        Raises:
            RequestError: the token does not hold.

        """
        try:
            subject = self._tokens.stream_subject(token)
        except TokenError as error:
            raise RequestError(401, "unauthorized", f"The token is refused. {error}") from None
        return Caller("browser", None, subject, self._settings.browser_purpose.lower())

    def _known(self, credential: str) -> Caller:
        if not credential:
            raise RequestError(401, "unauthorized", "Send a key or a token: Authorization: Bearer ....")
        if len(credential) > _LONGEST_CREDENTIAL:
            raise RequestError(401, "unauthorized", "No key and no token is so long.")
        if credential.startswith(PREFIX):
            key = self._keys.get(hash_key(credential))
            if key is None:
                raise RequestError(401, "unauthorized", "No such key, or it was revoked.")
            return Caller(key.name, key, "", key.purpose)
        if not looks_signed(credential):
            raise RequestError(401, "unauthorized", "It is neither a key nor a signed token.")
        try:
            subject = self._tokens.subject(credential)
        except TokenError as error:
            raise RequestError(401, "unauthorized", f"The token is refused. {error}") from None
        return Caller("browser", None, subject, self._settings.browser_purpose.lower())

    def _take(self, caller: Caller) -> None:
        """Takes a request from the caller's bucket, which fills at its rate and holds two seconds of it."""
        rate = self._settings.key_rate if caller.key else self._settings.browser_rate
        name = f"key {caller.name}" if caller.key else f"user {caller.subject}"
        now = time.monotonic()
        left, then = self._buckets.pop(name, (2.0 * rate, now))
        left = min(2.0 * rate, left + (now - then) * rate)
        if left >= 1:
            self._buckets[name] = (left - 1, now)
        else:
            self._buckets[name] = (left, now)
            raise RequestError(429, "too_many_requests", f"More than {rate} requests a second.", 1)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
