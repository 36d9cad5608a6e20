"""Braze: custom attributes of users, by POST /users/track.

Writes: ``attributes`` objects with the changed fields alone, for every attribute that is sent is billed as a data
point; ``operations`` counts them. Object ``users``, known by ``external_id`` (the default), ``email``, ``user_alias``
(option ``alias_label``) or ``braze_id``. Braze keeps no accounts.

Limits: 75 objects a call (some plans take 50: there a full batch is refused once and halved), 3,000 calls in any 3
seconds; 50 users a call of POST /users/delete, 20,000 calls a minute. Plans with hourly limits answer 429.

Authentication: a REST API key with the permissions ``users.track`` and, for deletion, ``users.delete``, from the
variable that ``token_env`` names, as bearer token. ``base_url`` is the REST endpoint of the instance, e.g.
https://rest.iad-01.braze.com or https://rest.fra-01.braze.eu.

========================================  =============================================================
Answer                                    What is done
========================================  =============================================================
201, message ``success``                  acknowledged; those named in ``errors`` (by index) are refused
201 with an error that names no object    the batch is halved until the error stands alone
202, message ``queued``                   acknowledged: Braze has it and applies it after its maintenance
400 (fatal: nothing was taken)            halved
401, 403, 404 (unknown key)               nothing more is sent before the next run
429                                       a pause until Retry-After or ``X-RateLimit-Reset`` (UTC epoch seconds)
5xx, no answer, no JSON                   in doubt, sent again
========================================  =============================================================

Fields: booleans, numbers and strings of at most 255 characters. A name has at most 255 characters, does not begin with
$ and is none of the identifiers. Braze makes a new attribute of a name that it does not know, and gives it the type of
the first value; a value of another type may be dropped there without an error. (Lengths are those of Braze's SDKs; the
$ and the dropping are common knowledge of its users, not measured here.)

Null removes an attribute. A clear makes no user that is not there (``_update_existing_only``). Deletion removes the
whole profile and cannot be undone; a profile that is gone is no error. By email, the most recently updated profile
that has it is deleted, with or without an external id. Braze answers before it applies: an acknowledgement says that
it has queued the change.

Sources: Braze's API documentation ("Track users", "Delete users", "User attributes object", "Rate limits", "Errors and
responses") and the community OpenAPI specification of its endpoints, version 1.0.0. The place of an error (``index``
in ``input_array``) is in no page of Braze's: it follows what other open-source clients have seen. Verified against the
specification's request schemas; not against a live account.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx

from orchestration.declarations.syncs import Sync
from orchestration.destinations import (
    ClosedError,
    Failure,
    ObjectKind,
    Options,
    Outcomes,
    Record,
    RefusedError,
    UnavailableError,
)
from orchestration.destinations._http import HttpDestination, HttpOptions, json_of
from orchestration.destinations._pace import Pace, Rate
from orchestration.errors import UsageError

# Identifier -> the list of it that /users/delete takes.
_LISTS = {
    "external_id": "external_ids",
    "email": "email_addresses",
    "user_alias": "user_aliases",
    "braze_id": "braze_ids",
}
_DELETED_AT_ONCE = 50


class BrazeOptions(HttpOptions):
    """Which workspace.

    Attributes:
        base_url: REST endpoint of the instance.
        token_env: name of the environment variable that holds the REST API key.
        alias_label: label of the aliases, where users are known by ``user_alias``.

    """

    base_url: str
    token_env: str = "BRAZE_API_KEY"  # noqa: S105 the name of a variable
    alias_label: str = ""


class BrazeDestination(HttpDestination):
    """Acknowledged once Braze has queued the change."""

    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "users": ObjectKind(
            "user",
            "external_id",
            field_pattern=r"(?!(?:external_id|user_alias|braze_id|email|phone|_update_existing_only)$)[^$].{0,254}",
            deletes=True,
        ),
    }
    batch_size: ClassVar[int] = 75
    workers: ClassVar[int] = 8
    rates: ClassVar[tuple[Rate, ...]] = (Rate(3_000, 3.0),)
    options_type: ClassVar[type[Options]] = BrazeOptions

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        super().__init__(sync, outbox, pace)
        if self.identifier_field not in _LISTS:
            raise UsageError(
                f"{sync.where}: identifier_field: Braze knows nobody by {self.identifier_field!r}.",
                f"It is one of {', '.join(_LISTS)}.",
            )
        if (self.identifier_field == "user_alias") != bool(self.options.alias_label):
            raise UsageError(
                f"{sync.where}: options.alias_label belongs to identifier_field user_alias, and to it alone.",
                "An alias is a name and a label.",
            )

    def headers(self) -> Mapping[str, str]:
        """The key."""
        return {"authorization": f"Bearer {self.secret(self.options.token_env)}"}

    def operations(self, records: Sequence[Record]) -> int:
        """Data points: one for each attribute that is sent; deletion costs none."""
        return sum(len(record.changed) for record in records if record.action != "delete")

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """The bodies of both calls, as far as there is something in them."""
        kept, gone = _parted(records)
        bodies = (("/users/track", kept, self._attributes(kept)), ("/users/delete", gone, self._deletions(gone)))
        return [{"path": path, "body": body} for path, concerned, body in bodies if concerned]

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """One call; what needs another one comes when the batch is tried again, so that nothing is sent twice."""
        kept, gone = _parted(records)
        sent = kept or gone[:_DELETED_AT_ONCE]
        failures = self._track(kept) if kept else self._delete(sent)
        done = dict(zip((record.identifier for record in sent), failures, strict=True))
        return [done.get(record.identifier, Failure("not its turn yet", again=True)) for record in records]

    def _track(self, records: Sequence[Record]) -> Outcomes:
        said = self._post("/users/track", self._attributes(records))
        if said.get("message") not in ("success", "queued"):
            raise UnavailableError("the answer does not say whether the attributes were taken")
        failures: dict[int, Failure] = {}
        for error in said.get("errors") or ():
            place = error.get("index") if isinstance(error, dict) else None
            if not isinstance(place, int) or not 0 <= place < len(records):
                raise RefusedError(self.mask(f"an error that names no user: {error}"))
            failures[place] = Failure(self.mask(str(error.get("type") or error)))
        return [failures.get(place) for place in range(len(records))]

    def _delete(self, records: Sequence[Record]) -> Outcomes:
        self._post("/users/delete", self._deletions(records))
        return [None] * len(records)

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.call("POST", path, json=body, accepted=(404,))
        if answer.status_code == 404:
            raise ClosedError("answered 404: the instance does not know the key (is base_url its REST endpoint?)")
        said = json_of(answer)
        return said if isinstance(said, dict) else {}

    def _attributes(self, records: Sequence[Record]) -> dict[str, Any]:
        return {"attributes": [record.delta | self._identity(record) for record in records]}

    def _identity(self, record: Record) -> dict[str, Any]:
        if self.identifier_field == "user_alias":
            # Without it, an alias that is not known is passed over in silence.
            return {"user_alias": self._alias(record), "_update_existing_only": record.action == "clear"}
        only = {"_update_existing_only": True} if record.action == "clear" else {}
        return {self.identifier_field: record.identifier} | only

    def _alias(self, record: Record) -> dict[str, str]:
        return {"alias_name": record.identifier, "alias_label": self.options.alias_label}

    def _deletions(self, records: Sequence[Record]) -> dict[str, Any]:
        kind = self.identifier_field
        return {_LISTS[kind]: [self._deletion(record) for record in records]}

    def _deletion(self, record: Record) -> Any:
        if self.identifier_field == "user_alias":
            return self._alias(record)
        if self.identifier_field == "email":
            return {"email": record.identifier, "prioritization": ["most_recently_updated"]}
        return record.identifier

    def seconds_to_wait(self, answer: httpx.Response) -> float | None:
        """Until the window of the limit ends; nothing where that is past, for clocks differ."""
        seconds = super().seconds_to_wait(answer)
        try:
            reset = float(answer.headers.get("x-ratelimit-reset", "")) - time.time()
        except ValueError:
            return seconds
        return reset if seconds is None and reset > 0 else seconds

    def words(self, answer: httpx.Response) -> str:
        """The message, and the first error that goes with it."""
        try:
            said = answer.json()
        except ValueError:
            return answer.text
        if not isinstance(said, dict):
            return str(said)
        errors = said.get("errors") or [""]
        first = errors[0].get("type", "") if isinstance(errors[0], dict) else str(errors[0])
        return " ".join(filter(None, (str(said.get("message", "")), first)))


def _parted(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Those to write, and those to delete."""
    return (
        [record for record in records if record.action != "delete"],
        [record for record in records if record.action == "delete"],
    )
