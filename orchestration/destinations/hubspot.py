"""HubSpot CRM: properties of contacts (users) and companies (accounts), a hundred records a call.

Calls, under ``/crm/v3/objects/<contacts or companies>``:

- upsert: ``POST batch/upsert``, each input found by a unique property (``identifier_field``: ``email`` of a contact,
  else a property that was created with "require unique values"); a record that is not there is created.
- clear: ``POST batch/read`` by that property, then ``batch/update`` by record id, so that a record which was deleted in
  HubSpot is not created again only to be empty.
- delete: ``POST batch/read``, then ``batch/archive``: the record is in HubSpot's recycling bin for 90 days. A contact
  who was forgotten in this home is deleted for good instead: ``POST gdpr-delete``, a call for each; by email without a
  look-up, and HubSpot then refuses that address in future even if no contact had it. By another property the contact is
  looked up, so a contact that is in the recycling bin already is not found. Companies have no such call, and are
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
PROPERTY_DOESNT_EXIST          closed: ``sync --prepare`` creates it, then the next run delivers
401, 403                       closed: token or scope
423                            a pause of two seconds, as long as HubSpot's lock lasts
429                            a pause: Retry-After, else the interval of the headers, else ten seconds
                               where the policy is TEN_SECONDLY_ROLLING
429 with policy DAILY          closed: the count starts again at midnight in the time zone of the account
477                            a pause (data centre migration); Retry-After of hours ends the run instead
408, 425, 5xx, no answer       tried again
=============================  ==========================================================================

Limits: 100 inputs a call; 100 calls in 10 seconds for a private app of a free or starter account, 190 of a professional
or enterprise one, 250 with the capacity pack (``calls_in_ten_seconds``). Calls count against a daily limit of the whole
account (250 000, 650 000, 1 000 000), so ``operations`` are calls.

Fields: the internal names of properties (small letters, digits, underscores). The interface takes only text: booleans
are sent as true and false, numbers as decimals, and an empty text empties a property. The property has to exist before,
and its type decides which texts it takes.

Authentication: the access token of a private app, from the environment variable in ``token_env``; scopes
crm.objects.contacts.read and .write (for companies, the same of companies). It does not expire.

Sources: HubSpot developer documentation as of 2026: CRM objects guide (upsert, update, delete), Contacts (GDPR
delete), Error handling (multi-status, 423, 477), API usage guidelines and limits; its changelog "Increasing our API
limits". Checked against the models of the official Python client hubspot-api-client 12.0.0 and a stand-in made from
these documents; not against a live account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx

from orchestration.declarations.syncs import Sync
from orchestration.destinations import (
    ClosedError,
    ObjectKind,
    Options,
    Outcomes,
    OutcomesByIdentifier,
    Record,
    RefusedError,
    UnavailableError,
)
from orchestration.destinations._fields import FieldKeeper
from orchestration.destinations._http import HttpDestination
from orchestration.destinations._hubspot_batch import (
    GONE,
    HubspotOptions,
    batch_input,
    error_reason,
    ids_of,
    incomplete,
    limit_policy,
    named_inputs,
    property_of,
    read_batch,
    row_failure,
)
from orchestration.destinations._hubspot_properties import HubspotProperties
from orchestration.destinations._pace import Pace, Rate
from orchestration.errors import UsageError

_PROPERTY = "[a-z][a-z0-9_]*"
_NO_PROPERTY = "PROPERTY_DOESNT_EXIST"
# Call -> statuses of success. The body then has a result for each input, or (207) an error that names it.
SUCCESS = {
    "batch/upsert": (200, 201, 207),
    "batch/update": (200, 207),
    "batch/read": (200, 207),
    "batch/archive": (204,),
    "gdpr-delete": (204,),
}


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
                f"{sync.where}: {sync.identified_by} is no email address.",
                "Set identifier: email, or name a unique property of the contacts in identifier_field.",
            )

    @property
    def _by_email(self) -> bool:
        return self.object_name == "contacts" and self.identifier_field == "email"

    def headers(self) -> Mapping[str, str]:
        """The token."""
        return {"authorization": f"Bearer {self.secret(self.options.token_env)}"}

    def is_final(self, answer: httpx.Response) -> bool:
        """Whether a property is missing, or a daily limit is used up."""
        return _NO_PROPERTY in answer.text or limit_policy(answer) == "DAILY"

    def seconds_to_wait(self, answer: httpx.Response) -> float | None:
        """Retry-After; else how long a lock or a window lasts."""
        seconds = super().seconds_to_wait(answer)
        if seconds is not None or answer.status_code not in self.limited:
            return seconds
        if answer.status_code == 423:
            return self.lock_seconds
        interval = answer.headers.get("x-hubspot-ratelimit-interval-milliseconds", "")
        if interval.isascii() and interval.isdecimal() and len(interval) < 16:
            return int(interval) / 1000
        return self.window_seconds if limit_policy(answer) == "TEN_SECONDLY_ROLLING" else None

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Up to two calls for each kind of action in the batch, and one for each forgotten contact."""
        outcomes: OutcomesByIdentifier = {}
        for record in records:
            if self._is_purged(record):
                self._purge(record)
                outcomes[record.identifier] = None
        deleted = [record for record in records if record.action == "delete" and not self._is_purged(record)]
        cleared = [record for record in records if record.action == "clear"]
        upserted = [record for record in records if record.action == "upsert"]
        if deleted:
            outcomes |= self._archive(deleted)
        if cleared:
            outcomes |= self._clear(cleared)
        if upserted:
            outcomes |= self._write("upsert", {record.identifier: self._upsert_input(record) for record in upserted})
        return [outcomes[record.identifier] for record in records]

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """The call for each record; a record that is cleared or archived is first looked up by its identifier."""
        return [self._preview(record) for record in records]

    def _preview(self, record: Record) -> dict[str, Any]:
        looked_up = f"(record id of {record.identifier})"
        if self._is_purged(record):
            return {"call": f"POST {self._path('gdpr-delete')}", "body": self._purge_body(record.identifier)}
        if record.action == "delete":
            verb, item = "archive", {"id": looked_up}
        elif record.action == "clear":
            verb, item = "update", batch_input(record, looked_up)
        else:
            verb, item = "upsert", self._upsert_input(record)
        return {"call": f"POST {self._path('batch/' + verb)}", "body": {"inputs": [item]}}

    def operations(self, records: Sequence[Record]) -> int:
        """Calls, which count against the account's daily limit."""
        purged = sum(self._is_purged(record) for record in records)
        upserted = sum(record.action == "upsert" for record in records)
        looked_up = len(records) - purged - upserted
        return purged * (1 if self._by_email else 2) + _calls(upserted) + 2 * _calls(looked_up)

    def fields_there(self) -> FieldKeeper:
        """Properties, which have to be there before."""
        return HubspotProperties(self, lambda: self.secret(self.options.token_env))

    def read(self, records: Sequence[Record]) -> dict[str, dict[str, Any]]:
        """Properties of each record, by batch read."""
        found = self._look_up(records, sorted({name for record in records for name in record.fields}))
        return {identifier: result.get("properties") or {} for identifier, result in found.items()}

    def _post(self, call: str, body: Any, **given: Any) -> httpx.Response:
        return self.call("POST", self._path(call), success=SUCCESS[call], json=body, **given)

    def _path(self, call: str) -> str:
        return f"/crm/v3/objects/{self.object_name}/{call}"

    def _is_purged(self, record: Record) -> bool:
        """Whether the record is deleted for good, because its contact was forgotten."""
        return record.action == "delete" and record.forgotten and self.object_name == "contacts"

    def _purge_body(self, identifier: str) -> dict[str, str]:
        return {"objectId": identifier, **({"idProperty": "email"} if self._by_email else {})}

    def _purge(self, record: Record) -> None:
        identifier = record.identifier if self._by_email else self._find([record]).get(record.identifier)
        if identifier:
            self._post("gdpr-delete", self._purge_body(identifier), accepted=(404,))

    def _archive(self, records: Sequence[Record]) -> OutcomesByIdentifier:
        inputs = [{"id": record_id} for record_id in self._find(records).values()]
        if inputs:
            self._post("batch/archive", {"inputs": inputs})
        return dict.fromkeys(record.identifier for record in records)

    def _clear(self, records: Sequence[Record]) -> OutcomesByIdentifier:
        found = self._find(records)
        outcomes: OutcomesByIdentifier = dict.fromkeys(record.identifier for record in records)
        inputs = {
            record.identifier: batch_input(record, found[record.identifier])
            for record in records
            if record.identifier in found
        }
        return outcomes | (self._write("update", inputs) if inputs else {})

    def _upsert_input(self, record: Record) -> dict[str, Any]:
        return {**batch_input(record, record.identifier), "idProperty": self.identifier_field}

    def _find(self, records: Sequence[Record]) -> dict[str, str]:
        """Identifier -> record id, of the records that are there."""
        return {identifier: found["id"] for identifier, found in self._look_up(records).items()}

    def _look_up(self, records: Sequence[Record], properties: Sequence[str] = ()) -> dict[str, Any]:
        """Identifier -> the record with these properties, of the records that are there."""
        identifiers = [record.identifier for record in records]
        body = {
            "idProperty": self.identifier_field,
            "inputs": [{"id": identifier} for identifier in identifiers],
            "properties": [self.identifier_field, *properties],
            "propertiesWithHistory": [],
        }
        results, errors = read_batch(self._post("batch/read", body))
        if other := [error for error in errors if error.get("category") != GONE]:
            raise UnavailableError(self.mask(f"could not look up: {error_reason(other[0])}"))
        if len(identifiers) == len(results) == 1:
            # A contact that was merged is also found by an address that is no longer its first.
            return {identifiers[0]: results[0]}
        folded = str.casefold if self._by_email else str
        by_value = {folded(property_of(result, self.identifier_field)): result for result in results}
        found = {name: by_value[folded(name)] for name in identifiers if folded(name) in by_value}
        if len(found) < len(results):
            raise RefusedError("found a record under another identifier than was asked for")
        missing = {folded(str(name)) for error in errors for name in ids_of(error)}
        unknown = [name for name in identifiers if name not in found and folded(name) not in missing]
        if unknown and not (errors and len(identifiers) == 1):
            raise incomplete(identifiers, "the answer leaves out some of the records that were looked up")
        return found

    def _write(self, verb: str, inputs: Mapping[str, Mapping[str, Any]]) -> OutcomesByIdentifier:
        """Makes one call with inputs by identifier, and returns what came of each."""
        results, errors = read_batch(self._post(f"batch/{verb}", {"inputs": list(inputs.values())}))
        if missing := [error for error in errors if _NO_PROPERTY in str(error)]:
            raise ClosedError(self.mask(error_reason(missing[0])))
        traces = {item["objectWriteTraceId"]: identifier for identifier, item in inputs.items()}
        ids = {item["id"]: identifier for identifier, item in inputs.items()}
        outcomes: OutcomesByIdentifier = {}
        for error in errors:
            named = named_inputs(ids_of(error, "objectWriteTraceId"), traces) or named_inputs(ids_of(error), ids)
            if not named and len(inputs) > 1:
                raise RefusedError(self.mask(error_reason(error)))
            outcomes |= dict.fromkeys(named or inputs, row_failure(error, verb, self.mask))
        if len(results) + len(outcomes) != len(inputs):
            raise incomplete(list(inputs), "the answer does not have a result for each record")
        if verb == "update" and any(result["id"] not in ids for result in results):
            raise UnavailableError("the answer names another record")
        return dict.fromkeys(inputs) | outcomes


def _calls(records: int) -> int:
    return -(-records // HubspotDestination.batch_size)
