"""Salesforce: fields of contacts or leads (users) and accounts, by a field that is marked as an external id.

Calls, under ``/services/data/v<api_version>/``:

- upsert: ``PATCH composite/sobjects/<object>/<field>``, 200 records a call, each on its own (``allOrNone`` false). From
  ``bulk_from`` records a run on: jobs of Bulk API 2.0 (``jobs/ingest``: create, upload CSV, close, wait, read what
  succeeded and what failed; the rest was not processed), 10 000 records each, which is one of its internal batches.
- clear: the ids by SOQL (``query``), then ``PATCH composite/sobjects``, 200 a call, so that a record which was deleted
  there is not created again only to be empty.
- delete: the ids by SOQL, then ``DELETE composite/sobjects``, 200 a call. A deleted record stays in the recycling bin
  of the organisation for 15 days; only an administrator can empty it. What is not there (any more) counts as deleted.
  Ids are looked up, and identifiers are not put into the path, because Salesforce takes the end of some addresses
  (.inc) in a path for a file format, and answers 404 as if there was no record.

A record that is not there is created, where the organisation demands no more than the fields of the sync; a Contact
needs LastName, an Account Name, so in practice the records come first, and REQUIRED_FIELD_MISSING refuses those that
are not there yet (``--retry-refused`` sends them again).

==========================================  =============================================================
answer                                      what is done
==========================================  =============================================================
200                                         each record by its place; in a job by its external id
UNABLE_TO_LOCK_ROW, SERVER_UNAVAILABLE and  the record is tried again
the like of one record
another error of one record                 refused
400, 409, 413, 415                          the batch is halved until the bad record stands alone
INVALID_FIELD, INVALID_TYPE, NOT_FOUND;     closed: object, field or version are not there, or not for this user
job failed as InvalidBatch
401                                         a new token, once; then closed
403 REQUEST_LIMIT_EXCEEDED, TotalRequests   closed: the allowance of the last 24 hours is used up
403 REQUEST_LIMIT_EXCEEDED, Concurrent...   a pause
403 else                                    closed: rights are missing
408, 425, 429, 5xx, no answer               tried again; a job that was begun is aborted first
job failed, or too slow (then aborted)      what it did counts; what it did not process is tried again
==========================================  =============================================================

Limits: 200 records a call, 25 calls of over 20 seconds at once, and calls in 24 hours by edition and licences, so
``operations`` are calls (of a job: eight, three of them to ask whether it has ended). Bulk API: 150 million records in
24 hours.

Fields: API names, of which custom ones end in ``__c``. Values keep their types: checkbox, number, text; null empties a
field. A checkbox holds no null: say ``cleared: false`` for it, or map it to text with ``cast``. The external id is a
text (or email) field, ``Traithouse_Id__c`` unless ``identifier_field`` says another.
In a job an empty text is null, as Salesforce keeps it, and so is a text of exactly #N/A.

Authentication: OAuth 2.0 client credentials of an external client app with a user to run as; its consumer key and
secret come from the variables in ``client_id_env`` and ``client_secret_env``. ``base_url`` is the My Domain address;
whatever address the token's answer names is not followed.

Sources: Salesforce REST API Developer Guide (sObject Collections: upsert, update, delete; Query; Status Codes and Error
Responses; sObject Rows by External ID), Bulk API 2.0 Developer Guide (ingest; Prepare CSV Files), OAuth 2.0 Client
Credentials Flow, Developer Limits and Allocations; version 66.0. Checked against a stand-in made from these documents,
and that one with the client simple-salesforce 1.12.10; not against a live organisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar
from urllib.parse import quote

import httpx

from orchestration.destinations import (
    Failure,
    ObjectKind,
    Outcomes,
    OutcomesByIdentifier,
    Record,
    RefusedError,
    UnavailableError,
)
from orchestration.destinations._fields import FieldKeeper
from orchestration.destinations._http import json_object, json_of, vendor_id
from orchestration.destinations._salesforce_api import SalesforceApi
from orchestration.destinations._salesforce_bulk import CALLS_OF_A_JOB, upsert_in_job
from orchestration.destinations._salesforce_fields import SalesforceFields

_FIELD = "[A-Za-z][A-Za-z0-9_]*"
_EXTERNAL_ID = "Traithouse_Id__c"
_GONE = "ENTITY_IS_DELETED"
# Of the 16 384 bytes that an address may have (REST API Developer Guide, Query).
_QUERY_BYTES = 12_000
# Of every call to collections and queries; the body then has a result for each record.
SUCCESS = (200,)

T = TypeVar("T")


class _FoundRecord(NamedTuple):
    """A record that is there: Salesforce's id, the identifier that it was asked for by, and the row of the query."""

    record_id: str
    identifier: str
    row: Mapping[str, Any]


class SalesforceDestination(SalesforceApi):
    """Acknowledged by the result of each record.

    Attributes:
        bulk_size: most records a job.

    """

    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "Contact": ObjectKind("user", _EXTERNAL_ID, field_pattern=_FIELD, deletes=True),
        "Lead": ObjectKind("user", _EXTERNAL_ID, field_pattern=_FIELD, deletes=True),
        "Account": ObjectKind("account", _EXTERNAL_ID, field_pattern=_FIELD, deletes=True),
    }
    batch_size: ClassVar[int] = 200
    bulk_size: ClassVar[int] = 10_000
    # The results of a job repeat what was uploaded, and have to fit into one answer.
    batch_bytes: ClassVar[int] = 8 << 20
    workers: ClassVar[int] = 4

    def batch_of(self, planned: int) -> int:
        """As many records as a job takes, where there are enough for jobs; else as many as a call takes."""
        return self.bulk_size if planned >= self.options.bulk_from else self.batch_size

    def operations(self, records: Sequence[Record]) -> int:
        """Calls, which count against the organisation's allowance of 24 hours."""
        upserted = sum(record.action == "upsert" for record in records)
        removed = len(records) - upserted
        jobs = upserted >= self.options.bulk_from
        calls = CALLS_OF_A_JOB * -(-upserted // self.bulk_size) if jobs else -(-upserted // self.batch_size)
        return calls + 2 * -(-removed // self.batch_size)

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """The call for each record; a record that is cleared or deleted is first looked up by its external id."""
        return [self._preview(record) for record in records]

    def _preview(self, record: Record) -> dict[str, Any]:
        looked_up = f"(id of {record.identifier})"
        if record.action == "delete":
            return {"call": f"DELETE {self.path('composite/sobjects')}?allOrNone=false&ids={looked_up}"}
        if record.action == "clear":
            return {
                "call": f"PATCH {self.path('composite/sobjects')}",
                "body": _collection([self.row(record, "id", looked_up)]),
            }
        return {"call": f"PATCH {self.path(self._upsert_call)}", "body": _collection([self._upsert_row(record)])}

    def fields_there(self) -> FieldKeeper:
        """Fields, which have to be there before."""
        return SalesforceFields(self)

    def read(self, records: Sequence[Record]) -> dict[str, dict[str, Any]]:
        """Fields of each record, by query."""
        names = sorted({name for record in records for name in record.fields})
        return {found.identifier: dict(found.row) for found in self._find(records, names)}

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Collections of 200 records each, or a job for more upserts than that."""
        deleted = [record for record in records if record.action == "delete"]
        cleared = [record for record in records if record.action == "clear"]
        upserted = [record for record in records if record.action == "upsert"]
        outcomes = self._delete(deleted) | self._clear(cleared)
        outcomes |= upsert_in_job(self, upserted) if len(upserted) > self.batch_size else self._upsert(upserted)
        return [outcomes[record.identifier] for record in records]

    @property
    def _upsert_call(self) -> str:
        return f"composite/sobjects/{self.object_name}/{self.identifier_field}"

    def _upsert_row(self, record: Record) -> dict[str, Any]:
        return self.row(record, self.identifier_field, record.identifier)

    def _upsert(self, records: Sequence[Record]) -> OutcomesByIdentifier:
        if not records:
            return {}
        body = _collection([self._upsert_row(record) for record in records])
        answer = self.call("PATCH", self.path(self._upsert_call), success=SUCCESS, json=body)
        return self._outcomes(answer, [record.identifier for record in records])

    def _clear(self, records: Sequence[Record]) -> OutcomesByIdentifier:
        outcomes: OutcomesByIdentifier = {record.identifier: None for record in records}
        by_identifier = {record.identifier: record for record in records}
        for part in _parts(self._find(records), self.batch_size):
            body = _collection([self.row(by_identifier[found.identifier], "id", found.record_id) for found in part])
            answer = self.call("PATCH", self.path("composite/sobjects"), success=SUCCESS, json=body)
            outcomes |= self._outcomes(answer, [found.identifier for found in part])
        return outcomes

    def _delete(self, records: Sequence[Record]) -> OutcomesByIdentifier:
        outcomes: OutcomesByIdentifier = {record.identifier: None for record in records}
        for part in _parts(self._find(records), self.batch_size):
            params = {"ids": ",".join(found.record_id for found in part), "allOrNone": "false"}
            answer = self.call("DELETE", self.path("composite/sobjects"), success=SUCCESS, params=params)
            outcomes |= self._outcomes(answer, [found.identifier for found in part])
        return outcomes

    def _find(self, records: Sequence[Record], names: Sequence[str] = ()) -> list[_FoundRecord]:
        """The records that are there; where the field is not unique, an identifier may find several."""
        found: dict[str, _FoundRecord] = {}
        field = self.identifier_field
        for identifiers in _query_parts([record.identifier for record in records]):
            values = ", ".join(_quoted(identifier) for identifier in identifiers)
            soql = f"SELECT {', '.join(['Id', field, *names])} FROM {self.object_name} WHERE {field} IN ({values})"
            content = json_object(self.call("GET", self.path("query"), success=SUCCESS, params={"q": soql}))
            rows = content.get("records")
            is_complete = content.get("done") is True
            if not is_complete or not isinstance(rows, list) or content.get("totalSize") != len(rows):
                raise UnavailableError("could not look up every record")
            # Unless the field is case-sensitive, a record may answer to another spelling.
            exact = set(identifiers)
            folded = {identifier.casefold(): identifier for identifier in identifiers}
            for row in rows:
                if not isinstance(row, dict) or not isinstance(row.get(field), str):
                    raise UnavailableError("could not read every record that was looked up")
                record_id, value = vendor_id(row.get("Id")), row[field]
                identifier = value if value in exact else folded.get(value.casefold())
                if identifier is None:
                    raise RefusedError("found a record under another identifier than was asked for")
                found[record_id] = _FoundRecord(record_id, identifier, row)
        return list(found.values())

    def _outcomes(self, answer: httpx.Response, identifiers: Sequence[str]) -> OutcomesByIdentifier:
        """What a collection's answer says of each record, in their order; of several with one identifier, a failure."""
        results = json_of(answer)
        if not isinstance(results, list) or len(results) != len(identifiers):
            raise UnavailableError(f"answered {answer.status_code} without a result for each record")
        outcomes: OutcomesByIdentifier = {}
        for identifier, result in zip(identifiers, results, strict=True):
            outcomes[identifier] = outcomes.get(identifier) or self._outcome(result)
        return outcomes

    def _outcome(self, result: Any) -> Failure | None:
        """What the result of one record says; what is neither a success nor an error leaves it in doubt."""
        errors = result.get("errors") if isinstance(result, dict) else None
        if not isinstance(errors, list) or not all(isinstance(error, dict) for error in errors):
            return Failure("the answer has no result for the record", again=True)
        if result.get("success") is True and not errors and isinstance(result.get("id"), str) and result["id"]:
            return None
        if result.get("success") is not False or not errors:
            return Failure("the answer does not say whether the record was taken", again=True)
        left = [error for error in errors if error.get("statusCode") != _GONE]
        return self.failure(str(left[0].get("statusCode")), str(left[0].get("message"))) if left else None


def _collection(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"allOrNone": False, "records": rows}


def _parts(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _query_parts(identifiers: Sequence[str]) -> Iterable[list[str]]:
    """Identifiers, as many in a part as fit into the address of a query."""
    part: list[str] = []
    size = 0
    for identifier in identifiers:
        added = len(quote(_quoted(identifier) + ", ", safe=""))
        if part and (size + added > _QUERY_BYTES or len(part) == SalesforceDestination.batch_size):
            yield part
            part, size = [], 0
        part.append(identifier)
        size += added
    if part:
        yield part
