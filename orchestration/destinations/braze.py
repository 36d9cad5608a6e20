"""Braze: custom attributes of users, by POST /users/track.

Writes: ``attributes`` objects with the changed fields only, because every attribute that is sent is billed as a data
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
201 that counts fewer users than sent     halved; a single user stays in doubt
201 with an error that names no object    the batch is halved until the error stands alone
202, message ``queued``                   acknowledged: Braze has it and applies it after its maintenance
400 (fatal: nothing was taken)            halved
401, 403, 404 (unknown key)               nothing more is sent before the next run
429                                       a pause until Retry-After or ``X-RateLimit-Reset`` (UTC epoch seconds)
5xx, no answer, any other 2xx             in doubt, sent again
========================================  =============================================================

Fields: booleans, numbers and strings of at most 255 characters. A name has at most 255 characters, does not begin with
$ and is none of the identifiers. Braze creates a new attribute for a name that it does not know, with the type of
the first value; a value of another type may be dropped there without an error. (Lengths are those of Braze's SDKs; the
$ and the dropping are common knowledge of its users, not measured here.)

Null removes an attribute. A clear creates no user (``_update_existing_only``). Deletion removes the
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
from orchestration.destinations._http import HttpDestination, HttpOptions, json_object
from orchestration.destinations._pace import Pace, Rate
from orchestration.errors import UsageError

# Identifier -> key of the list of them in /users/delete.
_LISTS = {
    "external_id": "external_ids",
    "email": "email_addresses",
    "user_alias": "user_aliases",
    "braze_id": "braze_ids",
}
_DELETED_AT_ONCE = 50
# Path -> status -> what ``message`` says. The answer to a deletion also counts the ids that were queued ("deleted").
SUCCESS = {
    "/users/track": {201: ("success", "queued"), 202: ("queued",)},
    "/users/delete": {201: ("success", "queued"), 202: ("queued",)},
}


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
                f"{sync.where}: identifier_field: Braze cannot find users by {self.identifier_field!r}.",
                f"Set it to one of these: {', '.join(_LISTS)}.",
            )
        if self.identifier_field == "user_alias" and not self.options.alias_label:
            raise UsageError(
                f"{sync.where}: identifier_field user_alias needs options.alias_label.",
                "Set options.alias_label: an alias is a name and a label.",
            )
        if self.identifier_field != "user_alias" and self.options.alias_label:
            raise UsageError(
                f"{sync.where}: options.alias_label is only for identifier_field user_alias.",
                "Remove options.alias_label, or set identifier_field to user_alias.",
            )

    def headers(self) -> Mapping[str, str]:
        """The key."""
        return {"authorization": f"Bearer {self.secret(self.options.token_env)}"}

    def operations(self, records: Sequence[Record]) -> int:
        """Data points: one for each attribute that is sent; deletion costs none."""
        return sum(len(record.changed) for record in records if record.action != "delete")

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """The bodies of the calls that are needed."""
        kept, deleted = _kept(records), _deleted(records)
        calls = [{"path": "/users/track", "body": self._attributes(kept)}] if kept else []
        return calls + ([{"path": "/users/delete", "body": self._deletions(deleted)}] if deleted else [])

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Makes one call; the rest of a mixed batch follows when it is tried again, so that nothing is sent twice."""
        kept = _kept(records)
        sent = kept or _deleted(records)[:_DELETED_AT_ONCE]
        failures = self._track(kept) if kept else self._delete(sent)
        outcomes = dict(zip((record.identifier for record in sent), failures, strict=True))
        return [outcomes.get(record.identifier, Failure("not its turn yet", again=True)) for record in records]

    def read(self, records: Sequence[Record]) -> dict[str, dict[str, Any]]:
        """Custom attributes, by /users/export/ids; the key needs the permission users.export.ids."""
        ids = [record.identifier for record in records]
        if self.identifier_field == "external_id":
            return self._export({"external_ids": ids}, ids)
        key = {"email": "email_address", "user_alias": "user_aliases"}.get(self.identifier_field, "braze_id")
        found: dict[str, dict[str, Any]] = {}
        for record in records:
            asked: Any = [self._alias(record)] if key == "user_aliases" else record.identifier
            found |= self._export({key: asked}, [record.identifier])
        return found

    def _export(self, asked: Mapping[str, Any], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        wanted = {**asked, "fields_to_export": ["external_id", "custom_attributes"]}
        answer = self.call("POST", "/users/export/ids", success=(200, 201), json=wanted)
        users = json_object(answer).get("users")
        if not isinstance(users, list) or not all(isinstance(user, dict) for user in users):
            raise UnavailableError("the answer to an export cannot be read")
        # Asked for a single user, Braze answers with that user, who may have no external id.
        return {
            ids[0] if len(ids) == 1 else str(user.get("external_id")): user.get("custom_attributes") or {}
            for user in users
        }

    def _track(self, records: Sequence[Record]) -> Outcomes:
        content = self._post("/users/track", self._attributes(records))
        errors = content.get("errors") or []
        if not isinstance(errors, list):
            raise UnavailableError("the answer has errors that cannot be read")
        failures: dict[int, Failure] = {}
        for error in errors:
            place = error.get("index") if isinstance(error, dict) else None
            if type(place) is not int or not 0 <= place < len(records):
                raise RefusedError(self.mask(f"an error that names no user: {error}"))
            failures[place] = Failure(self.mask(str(error.get("type") or error)))
        processed = content.get("attributes_processed", len(records))
        if type(processed) is not int or processed < len(records) - len(failures):
            raise _incomplete(records, "the answer counts fewer users than were sent")
        return [failures.get(place) for place in range(len(records))]

    def _delete(self, records: Sequence[Record]) -> Outcomes:
        content = self._post("/users/delete", self._deletions(records))
        deleted = content.get("deleted")
        if type(deleted) is not int or deleted != len(records) or content.get("errors"):
            raise _incomplete(records, "the answer does not say that every user was queued for deletion")
        return [None] * len(records)

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.call("POST", path, json=body, success=tuple(SUCCESS[path]), accepted=(404,))
        if answer.status_code == 404:
            raise ClosedError(
                "answered 404: the instance does not know the key (set options.base_url to its REST endpoint)"
            )
        content = json_object(answer)
        if content.get("message") not in SUCCESS[path][answer.status_code]:
            raise UnavailableError("the answer does not say whether the users were taken")
        return content

    def _attributes(self, records: Sequence[Record]) -> dict[str, Any]:
        return {"attributes": [record.delta | self._identity(record) for record in records]}

    def _identity(self, record: Record) -> dict[str, Any]:
        if self.identifier_field == "user_alias":
            # Without the flag, Braze silently ignores an alias that it does not know.
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
        """Seconds until the window of the limit ends; null when that is past, because clocks differ."""
        seconds = super().seconds_to_wait(answer)
        try:
            reset = float(answer.headers.get("x-ratelimit-reset", "")) - time.time()
        except ValueError:
            return seconds
        return reset if seconds is None and reset > 0 else seconds

    def error_text(self, answer: httpx.Response) -> str:
        """The message, and the first of its errors."""
        try:
            content = answer.json()
        except (ValueError, RecursionError):
            return answer.text
        if not isinstance(content, dict):
            return str(content)
        errors = content.get("errors")
        first = errors[0] if isinstance(errors, list) and errors else ""
        first = str(first.get("type", "")) if isinstance(first, dict) else str(first)
        return " ".join(filter(None, (str(content.get("message", "")), first)))


def _incomplete(records: Sequence[Record], reason: str) -> Exception:
    """Of several users nobody knows which were taken, so they are sent in halves; a single one stays in doubt."""
    return RefusedError(reason) if len(records) > 1 else UnavailableError(reason)


def _kept(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.action != "delete"]


def _deleted(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.action == "delete"]
