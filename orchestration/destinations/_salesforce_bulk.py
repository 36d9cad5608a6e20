"""Upserts many Salesforce records in a job of Bulk API 2.0: create it, upload CSV, wait, read each row's result."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import httpx

from orchestration.destinations import (
    ClosedError,
    Failure,
    OutcomesByIdentifier,
    Record,
    RefusedError,
    UnavailableError,
)
from orchestration.destinations._csv import csv_text
from orchestration.destinations._http import json_object, vendor_id
from orchestration.destinations._salesforce_api import SalesforceApi

# Create, upload, close, ask three times whether it has ended, read successes and failures.
CALLS_OF_A_JOB = 8

# Statuses of success: of the upload of rows, and of every other call of a job.
UPLOADED, DONE = (201,), (200,)

_ENDED = ("JobComplete", "Failed", "Aborted")
_NULL = "#N/A"
_TROUBLE = (RefusedError, UnavailableError, ClosedError)


def upsert_in_job(api: SalesforceApi, records: Sequence[Record]) -> OutcomesByIdentifier:
    """Upserts records in one job.

    Raises:
        ClosedError: the job could not read the batch: a field is not there.

    """
    job = _create_job(api, records)
    state = _wait_for_end(api, job)
    reason = str(state.get("errorMessage") or "")
    if reason.startswith("InvalidBatch"):
        raise ClosedError(api.mask(reason))
    outcomes: OutcomesByIdentifier = {
        record.identifier: Failure(api.mask(f"the job did not process it: {reason}"), again=True) for record in records
    }
    for row in _read_rows(api, job, "successfulResults"):
        if row.get("sf__Id"):
            outcomes[row.get(api.identifier_field) or ""] = None
    for row in _read_rows(api, job, "failedResults"):
        code, _, message = (row.get("sf__Error") or "").partition(":")
        outcomes[row.get(api.identifier_field) or ""] = api.failure(code, message)
    return outcomes


def _create_job(api: SalesforceApi, records: Sequence[Record]) -> str:
    """Id of a job that has all it needs; if anything fails on the way, it is aborted, so that it never runs late."""
    declared = {
        "object": api.object_name,
        "externalIdFieldName": api.identifier_field,
        "operation": "upsert",
        "contentType": "CSV",
        "columnDelimiter": "COMMA",
        "lineEnding": "LF",
    }
    job = vendor_id(json_object(api.call("POST", api.path("jobs/ingest"), success=DONE, json=declared)).get("id"))
    try:
        api.call(
            "PUT",
            api.path(f"jobs/ingest/{job}/batches"),
            success=UPLOADED,
            content=_csv(api.identifier_field, records).encode(),
            headers={"content-type": "text/csv; charset=UTF-8"},
        )
        _set_state(api, job, "UploadComplete")
    except _TROUBLE:
        _abort(api, job)
        raise
    return job


def _wait_for_end(api: SalesforceApi, job: str) -> dict[str, Any]:
    """The job when it has ended, by itself or because it took too long."""
    waited, seconds = 0.0, api.first_poll_seconds
    while True:
        state = json_object(_read(api, f"jobs/ingest/{job}"))
        if state.get("id") != job:
            raise UnavailableError("the answer is about another job")
        if state.get("state") in _ENDED:
            return state
        if waited >= 2 * api.bulk_patience_seconds:
            raise UnavailableError("the job neither ends nor can be aborted")
        if waited >= api.bulk_patience_seconds:
            _abort(api, job)
        api.pace.backoff(seconds)
        waited += seconds
        seconds = min(2 * seconds, api.longest_poll_seconds)


def _read_rows(api: SalesforceApi, job: str, results: str) -> list[dict[str, str]]:
    text = _read(api, f"jobs/ingest/{job}/{results}", accept="text/csv").content.decode("utf-8-sig", "replace")
    try:
        return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error:
        raise UnavailableError("the results of the job cannot be read") from None


def _read(api: SalesforceApi, call: str, accept: str = "application/json") -> httpx.Response:
    """A reading call, which is repeated: giving up would mean doing the whole job again."""
    for _ in range(api.readings - 1):
        try:
            return api.call("GET", api.path(call), success=DONE, headers={"accept": accept})
        except UnavailableError as error:
            api.pace.backoff(max(api.first_poll_seconds, error.seconds or 0.0))
    return api.call("GET", api.path(call), success=DONE, headers={"accept": accept})


def _set_state(api: SalesforceApi, job: str, state: str) -> None:
    api.call("PATCH", api.path(f"jobs/ingest/{job}"), success=DONE, json={"state": state})


def _abort(api: SalesforceApi, job: str) -> None:
    """Aborts a job if it can be aborted; otherwise it writes the same values as what is sent next."""
    with suppress(*_TROUBLE):
        _set_state(api, job, "Aborted")


def _csv(key: str, records: Sequence[Record]) -> str:
    """CSV with a row a record. An empty cell leaves a field as it is."""
    names = sorted({name for record in records for name in record.fields})
    rows = [
        [record.identifier, *(_cell(record.fields[name]) if name in record.fields else "" for name in names)]
        for record in records
    ]
    return csv_text([[key, *names], *rows])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _NULL if value in (None, "") else str(value)
