"""Salesforce: fields of contacts or leads (users) and accounts, by a field that is marked as an external id.

Calls, under ``/services/data/v<api_version>/``:

- upsert: ``PATCH composite/sobjects/<object>/<field>``, 200 records a call, each on its own (``allOrNone`` false). From
  ``bulk_from`` records a run on: jobs of Bulk API 2.0 (``jobs/ingest``: create, upload CSV, close, wait, read what
  succeeded and what failed; the rest was not processed), 10 000 records each, which is one of its internal batches.
- clear: the ids by SOQL (``query``), then ``PATCH composite/sobjects``, 200 a call, so that a record which was deleted
  there is not made again only to be empty.
- delete: the ids by SOQL, then ``DELETE composite/sobjects``, 200 a call. A deleted record lies in the recycling bin of
  the organisation for 15 days; emptying it is an administrator's. What is not there (any more) counts as deleted.
  Ids are asked for, and not put into the path, because Salesforce takes the end of some addresses (.inc) in a path for
  a file format, and answers 404 as if there was no record.

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

import csv
import io
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

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
from orchestration.destinations._pace import Pace

_FIELD = "[A-Za-z][A-Za-z0-9_]*"
_EXTERNAL_ID = "Traithouse_Id__c"
_AGAIN = ("UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_RUNNING_TOO_LONG", "QUERY_TIMEOUT")
_MISMAPPED = ("INVALID_FIELD", "INVALID_TYPE", "NOT_FOUND")
_GONE = "ENTITY_IS_DELETED"
_ENDED = ("JobComplete", "Failed", "Aborted")
_NULL = "#N/A"
_TROUBLE = (RefusedError, UnavailableError, ClosedError)
_BULK_CALLS = 8
# Of the 16 384 bytes that an address may have (REST API Developer Guide, Query).
_QUERY_BYTES = 12_000

Settled = dict[str, Failure | None]
"""Identifier -> why it failed, or nothing."""

T = TypeVar("T")


class SalesforceOptions(HttpOptions):
    """Which organisation.

    Attributes:
        base_url: its My Domain address, https://<name>.my.salesforce.com.
        client_id_env: name of the environment variable that holds the consumer key.
        client_secret_env: name of the environment variable that holds the consumer secret.
        api_version: of REST and Bulk API.
        bulk_from: a run of so many records or more goes through Bulk API 2.0.

    """

    base_url: str
    client_id_env: str = "SALESFORCE_CLIENT_ID"
    client_secret_env: str = "SALESFORCE_CLIENT_SECRET"  # noqa: S105
    api_version: str = Field(default="66.0", pattern=r"^\d+\.0$")
    bulk_from: int = Field(default=4_000, ge=201)


class SalesforceDestination(HttpDestination):
    """Acknowledged by the result of each record.

    Attributes:
        bulk_size: most records a job.
        first_poll_seconds: how soon a job is asked after; each time twice as long, up to ``longest_poll_seconds``.
        bulk_patience_seconds: a job that takes longer is aborted.
        readings: how often a reading call is tried, while a job depends on it.

    """

    base_url: ClassVar[str] = ""
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
    # A 403 may ask for a pause, too; ``closed`` tells which one does not.
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

    def headers(self) -> Mapping[str, str]:
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
        token = json_of(answer).get("access_token") if answer.is_success else None
        if not token:
            raise ClosedError(self.mask(f"no token: answered {answer.status_code}: {self.words(answer)}"))
        self._token = token
        self._secrets.add(token)
        return True

    def words(self, answer: httpx.Response) -> str:
        """Codes and messages, or those of the token's answer."""
        said = _errors(answer)
        if said:
            return "; ".join(f"{one.get('errorCode')}: {one.get('message')}" for one in said)
        return super().words(answer)

    def closed(self, answer: httpx.Response) -> bool:
        """Rights, the allowance of a day, or an object or field that is not there."""
        if answer.status_code == 403:
            return "Concurrent" not in self.words(answer)
        return any(one.get("errorCode") in _MISMAPPED for one in _errors(answer))

    def batch_of(self, planned: int) -> int:
        """As many as a call takes, or a job, where there are enough for jobs."""
        return self.bulk_size if planned >= self.options.bulk_from else self.batch_size

    def operations(self, records: Sequence[Record]) -> int:
        """Calls, which count against the organisation's allowance of 24 hours."""
        upserted = sum(record.action == "upsert" for record in records)
        sought = len(records) - upserted
        jobs = upserted >= self.options.bulk_from
        calls = _BULK_CALLS * -(-upserted // self.bulk_size) if jobs else -(-upserted // self.batch_size)
        return calls + 2 * -(-sought // self.batch_size)

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """The call for each record; what is cleared or deleted is first looked up by its external id."""
        return [self._previewed(record) for record in records]

    def _previewed(self, record: Record) -> dict[str, Any]:
        looked_up = f"(id of {record.identifier})"
        if record.action == "delete":
            return {"call": f"DELETE {self._path('composite/sobjects')}?allOrNone=false&ids={looked_up}"}
        if record.action == "clear":
            return {
                "call": f"PATCH {self._path('composite/sobjects')}",
                "body": _collection([self._row(record, "id", looked_up)]),
            }
        return {"call": f"PATCH {self._path(self._upserting)}", "body": _collection([self._upsert(record)])}

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Collections of 200 records each, or a job for more upserts than that."""
        deleted = [record for record in records if record.action == "delete"]
        cleared = [record for record in records if record.action == "clear"]
        upserted = [record for record in records if record.action == "upsert"]
        settled = self._delete(deleted) | self._clear(cleared)
        settled |= self._bulk(upserted) if len(upserted) > self.batch_size else self._patch(upserted)
        return [settled[record.identifier] for record in records]

    def _path(self, call: str) -> str:
        return f"/services/data/v{self.options.api_version}/{call}"

    @property
    def _upserting(self) -> str:
        return f"composite/sobjects/{self.object_name}/{self.identifier_field}"

    def _row(self, record: Record, key: str, value: str) -> dict[str, Any]:
        return {"attributes": {"type": self.object_name}, key: value, **record.fields}

    def _upsert(self, record: Record) -> dict[str, Any]:
        return self._row(record, self.identifier_field, record.identifier)

    def _patch(self, records: Sequence[Record]) -> Settled:
        if not records:
            return {}
        body = _collection([self._upsert(record) for record in records])
        answer = self.call("PATCH", self._path(self._upserting), json=body)
        return self._settled(answer, [record.identifier for record in records])

    def _clear(self, records: Sequence[Record]) -> Settled:
        settled: Settled = {record.identifier: None for record in records}
        by_identifier = {record.identifier: record for record in records}
        for part in _parts(list(self._found(records).items()), self.batch_size):
            body = _collection([self._row(by_identifier[identifier], "id", one) for one, identifier in part])
            answer = self.call("PATCH", self._path("composite/sobjects"), json=body)
            settled |= self._settled(answer, [identifier for _, identifier in part])
        return settled

    def _delete(self, records: Sequence[Record]) -> Settled:
        settled: Settled = {record.identifier: None for record in records}
        for part in _parts(list(self._found(records).items()), self.batch_size):
            asked = {"ids": ",".join(one for one, _ in part), "allOrNone": "false"}
            answer = self.call("DELETE", self._path("composite/sobjects"), params=asked)
            settled |= self._settled(answer, [identifier for _, identifier in part])
        return settled

    def _found(self, records: Sequence[Record]) -> dict[str, str]:
        """Record id -> identifier, of the records that are there; a field that is not unique may find several."""
        found: dict[str, str] = {}
        field = self.identifier_field
        for asked in _questions([record.identifier for record in records]):
            words = ", ".join(_quoted(one) for one in asked)
            soql = f"SELECT Id, {field} FROM {self.object_name} WHERE {field} IN ({words})"
            said = json_of(self.call("GET", self._path("query"), params={"q": soql}))
            if not isinstance(said, dict) or not said.get("done") or not isinstance(said.get("records"), list):
                raise UnavailableError("could not look up every record")
            # Unless the field tells small letters from capitals, a record may answer to another spelling.
            exact = set(asked)
            loose = {one.casefold(): one for one in asked}
            for row in said["records"]:
                value = str(row[field])
                identifier = value if value in exact else loose.get(value.casefold())
                if identifier is None:
                    raise RefusedError("found a record under another identifier than was asked for")
                found[row["Id"]] = identifier
        return found

    def _settled(self, answer: httpx.Response, identifiers: Sequence[str]) -> Settled:
        """What a collection says of each record, in their order; of several of one identifier, what went wrong."""
        results = json_of(answer)
        if not isinstance(results, list) or len(results) != len(identifiers):
            raise UnavailableError(f"answered {answer.status_code} without a result for each record")
        settled: Settled = {}
        for identifier, result in zip(identifiers, results, strict=True):
            errors = [one for one in result.get("errors") or () if one.get("statusCode") != _GONE]
            failure = None
            if not result.get("success") and (errors or not result.get("errors")):
                first = errors[0] if errors else {}
                failure = self._failure(str(first.get("statusCode", "")), str(first.get("message", "no reason given")))
            settled[identifier] = settled.get(identifier) or failure
        return settled

    def _failure(self, code: str, message: str) -> Failure:
        return Failure(self.mask(f"{code}: {message}"), again=code in _AGAIN)

    def _bulk(self, records: Sequence[Record]) -> Settled:
        job = self._begun(records)
        state = self._ended(job)
        why = str(state.get("errorMessage") or "")
        if why.startswith("InvalidBatch"):
            raise ClosedError(self.mask(why))
        settled: Settled = {
            record.identifier: Failure(self.mask(f"the job did not process it: {why}"), again=True)
            for record in records
        }
        for row in self._rows(job, "successfulResults"):
            settled[row.get(self.identifier_field, "")] = None
        for row in self._rows(job, "failedResults"):
            code, _, message = row["sf__Error"].partition(":")
            settled[row.get(self.identifier_field, "")] = self._failure(code, message)
        return settled

    def _begun(self, records: Sequence[Record]) -> str:
        """Id of a job that has all it needs; one that could not be begun is aborted, so that it never runs late."""
        asked = {
            "object": self.object_name,
            "externalIdFieldName": self.identifier_field,
            "operation": "upsert",
            "contentType": "CSV",
            "columnDelimiter": "COMMA",
            "lineEnding": "LF",
        }
        job = str(json_of(self.call("POST", self._path("jobs/ingest"), json=asked))["id"])
        try:
            self.call(
                "PUT",
                self._path(f"jobs/ingest/{job}/batches"),
                content=_csv(self.identifier_field, records).encode(),
                headers={"content-type": "text/csv; charset=UTF-8"},
            )
            self._set(job, "UploadComplete")
        except _TROUBLE:
            self._abort(job)
            raise
        return job

    def _ended(self, job: str) -> dict[str, Any]:
        """The job when it has ended, by itself or because it took too long."""
        waited, seconds = 0.0, self.first_poll_seconds
        while True:
            state: dict[str, Any] = json_of(self._read(f"jobs/ingest/{job}"))
            if state["state"] in _ENDED:
                return state
            if waited >= 2 * self.bulk_patience_seconds:
                raise UnavailableError("the job neither ends nor can be aborted")
            if waited >= self.bulk_patience_seconds:
                self._abort(job)
            self.pace.backoff(seconds)
            waited += seconds
            seconds = min(2 * seconds, self.longest_poll_seconds)

    def _rows(self, job: str, which: str) -> list[dict[str, str]]:
        text = self._read(f"jobs/ingest/{job}/{which}", accept="text/csv").content.decode("utf-8-sig")
        return list(csv.DictReader(io.StringIO(text, newline="")))

    def _read(self, call: str, accept: str = "application/json") -> httpx.Response:
        """A reading call, repeated: to give up would be to do a whole job again."""
        for _ in range(self.readings - 1):
            try:
                return self.call("GET", self._path(call), headers={"accept": accept})
            except UnavailableError as error:
                self.pace.backoff(self.first_poll_seconds if error.seconds is None else error.seconds)
        return self.call("GET", self._path(call), headers={"accept": accept})

    def _set(self, job: str, state: str) -> None:
        self.call("PATCH", self._path(f"jobs/ingest/{job}"), json={"state": state})

    def _abort(self, job: str) -> None:
        """As well as can be: what cannot be aborted holds the same values as what is sent next."""
        with suppress(*_TROUBLE):
            self._set(job, "Aborted")


def _errors(answer: httpx.Response) -> list[dict[str, Any]]:
    """Errors of a call as a whole."""
    try:
        said = answer.json()
    except ValueError:
        return []
    return [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []


def _collection(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"allOrNone": False, "records": rows}


def _parts(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _questions(identifiers: Sequence[str]) -> Iterable[list[str]]:
    """Identifiers, as many as fit into the address of a query."""
    part: list[str] = []
    size = 0
    for one in identifiers:
        grown = len(quote(_quoted(one) + ", ", safe=""))
        if part and (size + grown > _QUERY_BYTES or len(part) == SalesforceDestination.batch_size):
            yield part
            part, size = [], 0
        part.append(one)
        size += grown
    if part:
        yield part


def _csv(key: str, records: Sequence[Record]) -> str:
    """One row a record. An empty cell leaves a field as it is."""
    names = sorted({name for record in records for name in record.fields})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([key, *names])
    for record in records:
        cells = [_cell(record.fields[name]) if name in record.fields else "" for name in names]
        writer.writerow([record.identifier, *cells])
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _NULL if value in (None, "") else str(value)
