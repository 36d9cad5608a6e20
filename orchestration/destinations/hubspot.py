"""HubSpot CRM: properties of contacts (users) and companies (accounts), a hundred records a call.

Calls, under ``/crm/v3/objects/<contacts or companies>``:

- upsert: ``POST batch/upsert``, each input found by a unique property (``identifier_field``: ``email`` of a contact,
  else a property that somebody made with "require unique values"); a record that is not there is created.
- clear: ``POST batch/read`` by that property, then ``batch/update`` by record id, so that a record which was deleted in
  HubSpot is not made again only to be empty.
- delete: ``POST batch/read``, then ``batch/archive``: the record is in HubSpot's recycling bin for 90 days. A contact
  who was forgotten in this home is deleted for good instead: ``POST gdpr-delete``, one call a person; by email without
  looking first, and HubSpot then refuses that address in future even if no contact had it. By another property the
  contact is looked up, so one that lies in the recycling bin already is not found. Companies have no such call, and are
  archived. What is not there (any more) counts as deleted.

Every input carries an ``objectWriteTraceId``, which makes the answer a 207 with errors by row instead of a refusal of
all. HubSpot's guide promises that for creating; its client's model has the field for upserts and updates, too. Where
the answer does not tell which input it means, the batch is halved.

HubSpot warns that "partial upserts" by email are not supported, and does not say what these are. Each upsert carries
every field of the sync, never only the changed ones; other properties are not touched in the vendor's own example.

=============================  ==========================================================================
answer                         what is done
=============================  ==========================================================================
200, 201, 207                  each input by its trace id, else by its id, else the batch is halved
error of a row                 refused; CONFLICT and RATE_LIMITS are tried again
400, 404, 409, 413             the batch is halved until the bad record stands alone, which is refused
PROPERTY_DOESNT_EXIST          closed: the property has to be made in HubSpot, then the next run delivers
401, 403                       closed: token or scope
423                            a pause of two seconds, as long as HubSpot's lock lasts
429                            a pause: Retry-After, else the interval that the headers tell, else ten seconds
                               where the policy is TEN_SECONDLY_ROLLING
429 with policy DAILY          closed: the count begins anew at midnight in the time zone of the account
477                            a pause (data centre migration); Retry-After of hours ends the run instead
408, 425, 5xx, no answer       tried again
=============================  ==========================================================================

Limits: 100 inputs a call; 100 calls in 10 seconds for a private app of a free or starter account, 190 of a professional
or enterprise one, 250 with the capacity pack (``calls_in_ten_seconds``). Calls count against a daily limit of the whole
account (250 000, 650 000, 1 000 000), so ``operations`` are calls.

Fields: the internal names of properties (small letters, digits, underscores). The interface takes text alone:
booleans go out as true and false, numbers in decimals, and an empty text empties a property. What the text has to be
follows from the property's type, which must be made before.

Authentication: the access token of a private app, from the environment variable in ``token_env``; scopes
crm.objects.contacts.read and .write (companies likewise). It does not expire.

Sources: HubSpot developer documentation as of 2026: CRM objects guide (upsert, update, delete), Contacts (GDPR
delete), Error handling (multi-status, 423, 477), API usage guidelines and limits; its changelog "Increasing our API
limits". Checked against the models of the official Python client hubspot-api-client 12.0.0 and a stand-in made from
these documents; not against a live account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import httpx
from pydantic import Field

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

_PROPERTY = "[a-z][a-z0-9_]*"
_AGAIN = ("CONFLICT", "RATE_LIMITS")
_NO_PROPERTY = "PROPERTY_DOESNT_EXIST"
_GONE = "OBJECT_NOT_FOUND"

Settled = dict[str, Failure | None]
"""Identifier -> why it failed, or nothing."""


class HubspotOptions(HttpOptions):
    """Which account.

    Attributes:
        token_env: name of the environment variable that holds the token of a private app.
        calls_in_ten_seconds: what the account's subscription allows one app.

    """

    tuning: ClassVar[frozenset[str]] = HttpOptions.tuning | {"calls_in_ten_seconds"}
    token_env: str = "HUBSPOT_TOKEN"  # noqa: S105
    calls_in_ten_seconds: int = Field(default=100, ge=1)


class HubspotDestination(HttpDestination):
    """Acknowledged by a result for each input.

    Attributes:
        lock_seconds: how long a lock lasts (423).
        window_seconds: of the rolling limit.

    """

    base_url: ClassVar[str] = "https://api.hubapi.com"
    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "contacts": ObjectKind("user", "email", field_pattern=_PROPERTY, deletes=True),
        "companies": ObjectKind("account", "account_id", field_pattern=_PROPERTY, deletes=True),
    }
    batch_size: ClassVar[int] = 100
    workers: ClassVar[int] = 8
    rates: ClassVar[tuple[Rate, ...]] = (Rate(100, 10.0),)
    retried: ClassVar[frozenset[int]] = HttpDestination.retried | {423, 477}
    limited: ClassVar[frozenset[int]] = HttpDestination.limited | {423, 477}
    options_type: ClassVar[type[Options]] = HubspotOptions
    lock_seconds: ClassVar[float] = 2.0
    window_seconds: ClassVar[float] = 10.0

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        options = HubspotOptions.model_validate(sync.options)
        super().__init__(sync, outbox, pace or Pace([Rate(options.calls_in_ten_seconds, self.window_seconds)]))
        if self._by_email and sync.is_native:
            raise UsageError(
                f"{sync.where}: a {sync.identified_by} is no email address.",
                "Set identifier: email, or name a unique property of the contacts in identifier_field.",
            )

    @property
    def _by_email(self) -> bool:
        return self.object_name == "contacts" and self.identifier_field == "email"

    def headers(self) -> Mapping[str, str]:
        """The token."""
        return {"authorization": f"Bearer {self.secret(self.options.token_env)}"}

    def closed(self, answer: httpx.Response) -> bool:
        """A property that nobody made, or a daily limit."""
        return _NO_PROPERTY in answer.text or _policy(answer) == "DAILY"

    def seconds_to_wait(self, answer: httpx.Response) -> float | None:
        """Retry-After; else how long a lock or a window lasts."""
        said = super().seconds_to_wait(answer)
        if said is not None or answer.status_code not in self.limited:
            return said
        if answer.status_code == 423:
            return self.lock_seconds
        interval = answer.headers.get("x-hubspot-ratelimit-interval-milliseconds", "")
        if interval.isdigit():
            return int(interval) / 1000
        return self.window_seconds if _policy(answer) == "TEN_SECONDLY_ROLLING" else None

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Up to two calls for each kind of action in the batch, and one for each forgotten contact."""
        settled: Settled = {}
        for record in records:
            if self._is_purged(record):
                self._purge(record)
                settled[record.identifier] = None
        deleted = [record for record in records if record.action == "delete" and not self._is_purged(record)]
        cleared = [record for record in records if record.action == "clear"]
        upserted = [record for record in records if record.action == "upsert"]
        if deleted:
            settled |= self._archive(deleted)
        if cleared:
            settled |= self._clear(cleared)
        if upserted:
            settled |= self._write("upsert", {one.identifier: self._upsert(one) for one in upserted})
        return [settled[record.identifier] for record in records]

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """The call for each record; what is cleared or archived is first looked up by its identifier."""
        return [self._previewed(record) for record in records]

    def _previewed(self, record: Record) -> dict[str, Any]:
        looked_up = f"(record id of {record.identifier})"
        if self._is_purged(record):
            return {"call": f"POST {self._path('gdpr-delete')}", "body": self._purged(record.identifier)}
        if record.action == "delete":
            verb, sent = "archive", {"id": looked_up}
        elif record.action == "clear":
            verb, sent = "update", _input(record, looked_up)
        else:
            verb, sent = "upsert", self._upsert(record)
        return {"call": f"POST {self._path(f'batch/{verb}')}", "body": {"inputs": [sent]}}

    def operations(self, records: Sequence[Record]) -> int:
        """Calls, which count against the account's daily limit."""
        purged = sum(self._is_purged(record) for record in records)
        upserted = sum(record.action == "upsert" for record in records)
        looked_up = len(records) - purged - upserted
        return purged * (1 if self._by_email else 2) + _calls(upserted) + 2 * _calls(looked_up)

    def _path(self, call: str) -> str:
        return f"/crm/v3/objects/{self.object_name}/{call}"

    def _is_purged(self, record: Record) -> bool:
        return record.action == "delete" and record.forgotten and self.object_name == "contacts"

    def _purged(self, identifier: str) -> dict[str, str]:
        return {"objectId": identifier, **({"idProperty": "email"} if self._by_email else {})}

    def _purge(self, record: Record) -> None:
        identifier = record.identifier if self._by_email else self._found([record]).get(record.identifier)
        if identifier:
            self.call("POST", self._path("gdpr-delete"), json=self._purged(identifier), accepted=(404,))

    def _archive(self, records: Sequence[Record]) -> Settled:
        found = self._found(records)
        if found:
            self.call("POST", self._path("batch/archive"), json={"inputs": [{"id": one} for one in found.values()]})
        return dict.fromkeys(record.identifier for record in records)

    def _clear(self, records: Sequence[Record]) -> Settled:
        found = self._found(records)
        settled: Settled = dict.fromkeys(record.identifier for record in records)
        inputs = {one.identifier: _input(one, found[one.identifier]) for one in records if one.identifier in found}
        return settled | (self._write("update", inputs) if inputs else {})

    def _upsert(self, record: Record) -> dict[str, Any]:
        return {**_input(record, record.identifier), "idProperty": self.identifier_field}

    def _found(self, records: Sequence[Record]) -> dict[str, str]:
        """Identifier -> record id, of the records that are there."""
        asked = [record.identifier for record in records]
        body = {
            "idProperty": self.identifier_field,
            "inputs": [{"id": one} for one in asked],
            "properties": [self.identifier_field],
            "propertiesWithHistory": [],
        }
        results, errors = _parts(self.call("POST", self._path("batch/read"), json=body))
        if other := [error for error in errors if error.get("category") != _GONE]:
            raise UnavailableError(self.mask(f"could not look up: {_reason(other[0])}"))
        if len(asked) == len(results) == 1:
            # A contact that was merged answers to an address that is no longer its first.
            return {asked[0]: str(results[0]["id"])}
        folded = str.casefold if self._by_email else str
        by_value = {folded(str(one["properties"].get(self.identifier_field))): str(one["id"]) for one in results}
        found = {one: by_value[folded(one)] for one in asked if folded(one) in by_value}
        if len(found) < len(results):
            raise RefusedError("found a record under another identifier than was asked for")
        return found

    def _write(self, verb: str, inputs: Mapping[str, Mapping[str, Any]]) -> Settled:
        """One call, and what it says of each input (by identifier)."""
        answer = self.call("POST", self._path(f"batch/{verb}"), json={"inputs": list(inputs.values())})
        results, errors = _parts(answer)
        if missing := [error for error in errors if _NO_PROPERTY in str(error)]:
            raise ClosedError(self.mask(_reason(missing[0])))
        traces = {one["objectWriteTraceId"]: identifier for identifier, one in inputs.items()}
        ids = {one["id"]: identifier for identifier, one in inputs.items()}
        settled: Settled = {}
        for error in errors:
            context = error.get("context") or {}
            named = _named(context.get("objectWriteTraceId"), traces) or _named(context.get("ids"), ids)
            if not named and len(inputs) > 1:
                raise RefusedError(self.mask(_reason(error)))
            settled |= dict.fromkeys(named or inputs, self._failure(error, verb))
        if len(results) + len(settled) < len(inputs):
            if len(inputs) > 1:
                raise RefusedError("the answer does not tell of every record")
            settled |= dict.fromkeys(inputs, Failure("the answer does not tell of the record", again=True))
        return dict.fromkeys(inputs) | settled

    def _failure(self, error: Mapping[str, Any], verb: str) -> Failure | None:
        category = error.get("category")
        if category == _GONE and verb == "update":
            # Only what is cleared is updated: it was deleted since it was looked up.
            return None
        return Failure(self.mask(_reason(error)), again=category in (*_AGAIN, _GONE))


def _calls(records: int) -> int:
    return -(-records // HubspotDestination.batch_size)


def _policy(answer: httpx.Response) -> str:
    """Which limit a 429 is about."""
    try:
        said = answer.json()
    except ValueError:
        return ""
    return str(said.get("policyName", "")) if isinstance(said, dict) else ""


def _parts(answer: httpx.Response) -> tuple[list[Any], list[Any]]:
    """Results and errors of a batch."""
    said = json_of(answer)
    results = said.get("results") if isinstance(said, dict) else None
    if not isinstance(results, list):
        raise UnavailableError(f"answered {answer.status_code} without results")
    return results, said.get("errors") or []


def _reason(error: Mapping[str, Any]) -> str:
    return f"{error.get('category', 'error')}: {error.get('message', '')}"


def _named(given: Iterable[str] | None, known: Mapping[str, str]) -> list[str]:
    return [known[one] for one in given or () if one in known]


def _input(record: Record, identifier: str) -> dict[str, Any]:
    properties = {name: _text(value) for name, value in record.fields.items()}
    return {"id": identifier, "objectWriteTraceId": record.record_id, "properties": properties}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else f"{Decimal(repr(value)):f}"
