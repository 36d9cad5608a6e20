"""Klaviyo: custom properties of profiles, by bulk import jobs.

Writes: POST /api/profile-bulk-import-jobs with all fields of each record under ``properties``, then asks for the job
until it is complete, and for its import errors. Object ``users``, known by ``external_id`` (the default), ``email`` or
``phone_number`` (E.164). Klaviyo keeps no accounts.

Limits: 10,000 profiles and 5 MB a job, 100 KB a profile (counted in thousands); 10 calls a second and 150 a minute,
which jobs, asking for them and reading their errors share here, although Klaviyo counts each endpoint separately;
deletion jobs 3 a second and 60 a minute.

Authentication: a private API key with the scopes profiles:write, profiles:read, lists:write, lists:read and, for
deletion, data-privacy:write, from the variable that ``token_env`` names. ``revision`` is the date of the API.

===================================  =============================================================================
Answer                               What is done
===================================  =============================================================================
202, job complete, no import errors  acknowledged
import errors                        refused, matched by the identifier in ``original_payload``, else by the pointer
... of which one names no profile    the batch is halved until the error stands alone
job cancelled                        in doubt, sent again
job not complete in ``job_minutes``  in doubt; the run ends, and the next run sends it again
400 whose pointers name profiles     these are refused, and the others sent again
400 otherwise, 413                   halved
401, 403, 404, 410, 415              nothing more is sent before the next run (is the revision still served?)
429                                  a pause of Retry-After
5xx, no answer, no JSON              in doubt, sent again; while a job is waited for: asked again
===================================  =============================================================================

Fields: booleans, numbers and strings. Names are free, but do not begin with $. A name always means a custom
property: ``email`` or ``first_name`` would not change Klaviyo's own fields.

A job ignores null, so a field is emptied by ``patch_properties.unset`` of the profile, which removes the property.
A clear of a profile that is not there creates an empty one. Deletion is a data privacy deletion job, by email, phone
number or Klaviyo's own id, which is looked up for an external id; it removes the whole profile, later, and cannot be
undone. A profile that is gone is no error.

Sources: Klaviyo's OpenAPI documents "Bulk Import Profiles", "Get Errors for Bulk Import Profiles Job" and "Request
Profile Deletion" (revision 2026-07-15), its guide "Bulk Import Profiles API" (null) and "Rate limits, status codes, and
errors". What ``original_payload`` holds is in none of them; a profile or its attributes are both understood. Verified:
requests and the stand-in's answers against the specification and the models of the official Python client (klaviyo-api
25.0.0); not against a live account.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
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
    OutcomesByIdentifier,
    Record,
    RefusedError,
    UnavailableError,
)
from orchestration.destinations._http import HttpDestination, json_of, vendor_id
from orchestration.destinations._klaviyo_json import (
    KlaviyoOptions,
    deletion_body,
    errors_of,
    failed_of,
    identifier_of,
    import_body,
    job_attributes,
    listed_in,
    next_cursor,
    pointed_place,
    value_at,
)
from orchestration.destinations._pace import Pace, Rate
from orchestration.errors import UsageError

_IDENTIFIERS = ("external_id", "email", "phone_number")
_JOBS, _PROFILES = "/api/profile-bulk-import-jobs", "/api/profiles"
_DELETIONS = "/api/data-privacy-deletion-jobs"
_JSON_API = "application/vnd.api+json"
_PROFILE_BYTES = 100_000
# Each call has one status of success; that of a deletion has no body. A job that is complete counts every profile as
# completed or failed.
CREATED, READ = (202,), (200,)
_MOST_PAGES = 200
_DELETED_AT_ONCE = 50
_LONGEST_POLL_SECONDS = 15.0
# Longer than a run waits, so that the next run tries again.
_NEXT_RUN_SECONDS = 3_600.0


class KlaviyoDestination(HttpDestination):
    """Acknowledged once the job is complete and has no error for the profile."""

    base_url: ClassVar[str] = "https://a.klaviyo.com"
    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "users": ObjectKind("user", "external_id", field_pattern=r"[^$].*", deletes=True),
    }
    batch_size: ClassVar[int] = 10_000
    # The rest of the body, around the profiles, takes up to 200 bytes.
    batch_bytes: ClassVar[int] = 5_000_000 - 200
    workers: ClassVar[int] = 4
    rates: ClassVar[tuple[Rate, ...]] = (Rate(10, 1.0), Rate(150, 60.0))
    deletion_rates: ClassVar[tuple[Rate, ...]] = (Rate(3, 1.0), Rate(60, 60.0))
    options_type: ClassVar[type[Options]] = KlaviyoOptions

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        super().__init__(sync, outbox, pace)
        self._deletion_pace = Pace(self.deletion_rates)
        if self.identifier_field not in _IDENTIFIERS:
            raise UsageError(
                f"{sync.where}: identifier_field: Klaviyo cannot find profiles by {self.identifier_field!r}.",
                f"Set it to one of these: {', '.join(_IDENTIFIERS)}.",
            )

    def headers(self) -> Mapping[str, str]:
        """Key, revision and media type."""
        return {
            "authorization": f"Klaviyo-API-Key {self.secret(self.options.token_env)}",
            "revision": self.options.revision,
            "accept": _JSON_API,
            "content-type": _JSON_API,
        }

    def size(self, record: Record) -> int:
        """Bytes of the profile and the comma after it; what is sent has no spaces, so it is never larger."""
        return len(json.dumps(self._profile(record)))

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """The bodies; a deletion by external id needs Klaviyo's own id, which is not looked up here."""
        kept = [record for record in records if record.action != "delete"]
        jobs = [{"path": _JOBS, "body": self._job(kept)}] if kept else []
        return jobs + [
            {"path": _DELETIONS, "body": deletion_body(self._profile_name(record, f"(the id of {record.identifier})"))}
            for record in records
            if record.action == "delete"
        ]

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """One job, or some deletions; the rest of a mixed batch follows when it is tried again."""
        kept = [record for record in records if record.action != "delete"]
        outcomes = self._import(kept) if kept else self._delete(records[:_DELETED_AT_ONCE])
        return [outcomes.get(record.identifier, Failure("not its turn yet", again=True)) for record in records]

    def _import(self, records: Sequence[Record]) -> OutcomesByIdentifier:
        outcomes: OutcomesByIdentifier = {record.identifier: None for record in records}
        large = [record.identifier for record in records if self.size(record) > _PROFILE_BYTES]
        outcomes |= dict.fromkeys(large, Failure(f"the profile is larger than {_PROFILE_BYTES} bytes"))
        sent = [record for record in records if outcomes[record.identifier] is None]
        if not sent:
            return outcomes
        answer = self.call("POST", _JOBS, success=CREATED, json=self._job(sent), accepted=(400, 404, 410, 415))
        if answer.status_code in (404, 410, 415):
            raise ClosedError(
                f"answered {answer.status_code}: revision {self.options.revision} may no longer be served"
                " (set options.revision to a newer date)"
            )
        if answer.status_code == 400:
            refused = self._refused(errors_of(answer), sent, self.error_text(answer))
            rest = Failure("its batch was refused because of others", again=True)
            return outcomes | {record.identifier: refused.get(record.identifier, rest) for record in sent}
        job_id = vendor_id(value_at(json_of(answer), "data", "id"))
        failed = self._failed_count(job_id, len(sent))
        refused = self._refused((value_at(error, "attributes") for error in self._import_errors(job_id)), sent)
        if failed > len(refused):
            raise RefusedError(f"{failed} profiles failed, but errors name only {len(refused)} of them")
        return outcomes | refused

    def _failed_count(self, job_id: str, sent: int) -> int:
        """Waits until a job is complete, and returns how many of the profiles that were sent failed."""
        until = time.monotonic() + self.options.job_minutes * 60
        seconds: float = self.options.poll_seconds
        status = "not known"
        while time.monotonic() < until:
            self.pace.backoff(seconds)
            seconds = min(seconds * 1.5, _LONGEST_POLL_SECONDS)
            try:
                content = json_of(self.call("GET", f"{_JOBS}/{job_id}", success=READ))
                job = job_attributes(content, job_id)
            except UnavailableError as error:
                # The job continues, even if nobody answers now.
                seconds = max(seconds, error.seconds or 0.0)
                continue
            status = job.get("status", status)
            if status == "complete":
                return failed_of(job, sent)
            if status == "cancelled":
                raise UnavailableError(f"job {job_id} was cancelled")
        raise UnavailableError(
            f"job {job_id} is {status} after {self.options.job_minutes:g} minutes", _NEXT_RUN_SECONDS
        )

    def _import_errors(self, job_id: str) -> Iterable[dict[str, Any]]:
        page: dict[str, Any] = {"page[size]": 100}
        for _ in range(_MOST_PAGES):
            content = json_of(self.call("GET", f"{_JOBS}/{job_id}/import-errors", success=READ, params=page))
            yield from listed_in(content)
            # Only its cursor is used, so that the key is sent to no other address.
            cursor = next_cursor(content)
            if not cursor:
                return
            page["page[cursor]"] = cursor
        raise UnavailableError(f"a job has more than {_MOST_PAGES} pages of errors")

    def _refused(
        self, errors: Iterable[Mapping[str, Any]], records: Sequence[Record], message: str = ""
    ) -> OutcomesByIdentifier:
        """Identifier -> why it was refused; with a message, at least one profile was.

        Raises:
            RefusedError: an error names none of the profiles.

        """
        known = {record.identifier for record in records}
        refused: OutcomesByIdentifier = {}
        for error in errors:
            identifier = identifier_of(error, self.identifier_field)
            place = pointed_place(error)
            if identifier not in known and place is not None and place < len(records):
                identifier = records[place].identifier
            reason = self.mask(str(error.get("detail") or error.get("title") or error.get("code")))
            if identifier not in known:
                raise RefusedError(reason)
            refused[identifier] = Failure(reason)
        if message and not refused:
            raise RefusedError(self.mask(message))
        return refused

    def _delete(self, records: Sequence[Record]) -> OutcomesByIdentifier:
        """Creates a deletion job for each; those created keep their outcome if a later one cannot be created."""
        outcomes: OutcomesByIdentifier = {}
        for identifier, profile in self._to_delete(records).items():
            try:
                if profile:
                    self._deletion_pace.take()
                    answer = self.call(
                        "POST", _DELETIONS, success=CREATED, json=deletion_body(profile), accepted=(404,)
                    )
                    if answer.status_code != 404 and answer.content:
                        raise UnavailableError("the answer to a deletion is not the empty one of a success")
                outcomes[identifier] = None
            except RefusedError as error:
                outcomes[identifier] = Failure(str(error))
            except UnavailableError as error:
                if not outcomes:
                    raise
                self.pace.pause(error.seconds or 0.0)
                break
        return outcomes

    def _to_delete(self, records: Sequence[Record]) -> dict[str, dict[str, Any] | None]:
        """Identifier -> what names the profile to a deletion job; nothing where there is no such profile."""
        ids: dict[str, str] = {}
        if self.identifier_field == "external_id":
            wanted = json.dumps([record.identifier for record in records], ensure_ascii=False)
            query = {"filter": f"any(external_id,{wanted})", "fields[profile]": "external_id", "page[size]": 100}
            profiles = listed_in(json_of(self.call("GET", _PROFILES, success=READ, params=query)))
            ids = {
                str(value_at(profile, "attributes", "external_id")): vendor_id(value_at(profile, "id"))
                for profile in profiles
            }
            if set(ids) - {record.identifier for record in records}:
                raise UnavailableError("a look-up found profiles that were not asked for")
        return {record.identifier: self._profile_name(record, ids.get(record.identifier)) for record in records}

    def _profile_name(self, record: Record, profile_id: str | None) -> dict[str, Any] | None:
        """What names a profile to a deletion job, which cannot find it by external id."""
        if self.identifier_field == "external_id":
            return {"id": profile_id, "attributes": {}} if profile_id else None
        return {"attributes": {self.identifier_field: record.identifier}}

    def _job(self, records: Sequence[Record]) -> dict[str, Any]:
        return import_body([self._profile(record) for record in records])

    def _profile(self, record: Record) -> dict[str, Any]:
        properties = {name: value for name, value in record.fields.items() if value is not None}
        emptied = [name for name, value in record.fields.items() if value is None]
        attributes = {self.identifier_field: record.identifier, "properties": properties}
        patch = {"meta": {"patch_properties": {"unset": emptied}}} if emptied else {}
        return {"type": "profile", "attributes": attributes} | patch

    def error_text(self, answer: httpx.Response) -> str:
        """Details of the errors."""
        return "; ".join(str(error.get("detail") or error.get("title")) for error in errors_of(answer)) or answer.text
