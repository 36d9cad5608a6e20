"""Intercom: custom attributes of contacts (users) and companies (accounts), REST API 2.14, one record a call.

Contacts are known by ``external_id`` or ``email``: one search a batch (``POST /contacts/search``), then ``PUT
/contacts/{id}``, or ``POST /contacts`` with the role user where there is none. Companies are known by ``company_id``,
which ``POST /companies`` creates or updates by; Intercom shows one only once it has a contact.

Limits: a private app 10,000 calls a minute, in windows of ten seconds, a workspace 25,000 for all its apps. Searches
count, so a contact costs a call and a twentieth. Authentication: an access token in the variable that
``options.token_env`` names. Workspaces in Europe and Australia: ``options.base_url`` is https://api.eu.intercom.io or
https://api.au.intercom.io.

==========================  ==========================================================================================
answer                      what is done
==========================  ==========================================================================================
429                         a pause until X-RateLimit-Reset (a UNIX time, read by the clock of the answer)
408, 425, 5xx, no answer    tried again
any other 2xx or body       in doubt, sent again
409 to a new contact        it is there already (a search finds new ones only after minutes): the contact that the
                            answer names is updated, or else it is searched again; an archived one is refused
404 to a known contact      merged or deleted meanwhile: created; when it is cleared or deleted, done
400, 422                    the record is refused: an attribute that is not there, a wrong type
401, 403                    nothing more is sent
==========================  ==========================================================================================

Fields are custom attributes: text (255 characters), numbers, truth values. Each has to exist as a data attribute of the
workspace before; ``sync --prepare`` creates what is missing. A number without a fraction is sent as an integer, which
attributes of both kinds take. Attributes of a company are sent as text, as the description types them, and have to be
of the type text; an empty text clears them. Clear writes null to a contact, and creates nothing. Delete removes the
contact for good, and every contact that has the email; a company is archived. An upsert or clear of an email that
several contacts have is refused, unless exactly one of them is a user and not a lead. Intercom finds a new contact by
its email only after minutes, so that a clear or delete so soon after its creation finds nothing; by ``external_id`` it
is found at once.

Sources: "Intercom API" 2.14 (OpenAPI description, MIT), "Rate Limiting", "Error Codes" (developers.intercom.com), "Send
custom user attributes to Intercom" (help centre), pull request 543 of Intercom-OpenAPI (words of a 409). Verified
against that description and the models of the official client (python-intercom 5.0.1), not against a live workspace.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import Any, ClassVar

import httpx

from orchestration.declarations.syncs import Sync
from orchestration.destinations import Failure, ObjectKind, Outcomes, Record, RefusedError, UnavailableError
from orchestration.destinations._fields import FieldKeeper
from orchestration.destinations._http import (
    HttpDestination,
    HttpOptions,
    json_object,
    path_segment,
    retry_after,
    vendor_id,
)
from orchestration.destinations._intercom_attributes import IntercomAttributes, attributes_of, texts_of
from orchestration.destinations._pace import Pace, Rate
from orchestration.errors import UsageError

VERSION = "2.14"
PER_PAGE = 150
MOST_PAGES = 50
# Of every call; a deletion also says ``deleted: true``, and each answer names the record that was written.
SUCCESS = (200,)
# Periods and most other signs are not allowed in the name of a custom attribute.
_ATTRIBUTE = r"[\w -]+"
_EXISTING = re.compile(r"\b(archived )?contact matching those details already exists with id=(\w+)", re.I)


class IntercomOptions(HttpOptions):
    """Which workspace.

    Attributes:
        token_env: name of the environment variable that holds the access token.

    """

    token_env: str = "INTERCOM_TOKEN"  # noqa: S105 - the name of a variable


class IntercomDestination(HttpDestination):
    """Acknowledged by an answer that names the contact or company."""

    base_url: ClassVar[str] = "https://api.intercom.io"
    objects: ClassVar[Mapping[str, ObjectKind]] = {
        "contacts": ObjectKind("user", "external_id", field_pattern=_ATTRIBUTE, deletes=True),
        "companies": ObjectKind("account", "company_id", field_pattern=_ATTRIBUTE, deletes=True),
    }
    batch_size: ClassVar[int] = 20
    workers: ClassVar[int] = 24
    rates: ClassVar[tuple[Rate, ...]] = (Rate(1666, 10.0),)
    options_type: ClassVar[type[IntercomOptions]] = IntercomOptions

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        super().__init__(sync, outbox, pace)
        known = {"contacts": ("external_id", "email"), "companies": ("company_id",)}[self.object_name]
        if self.identifier_field not in known:
            raise UsageError(
                f"{sync.where}: Intercom cannot find {self.object_name} by {self.identifier_field}.",
                f"Set identifier_field to {' or '.join(known)}.",
            )

    def headers(self) -> Mapping[str, str]:
        """The access token, and the version of the API, which overrides the app's setting."""
        return {"authorization": f"Bearer {self.secret(self.options.token_env)}", "intercom-version": VERSION}

    def fields_there(self) -> FieldKeeper:
        """Data attributes, which have to be there before."""
        return IntercomAttributes(self)

    def read(self, records: Sequence[Record]) -> dict[str, dict[str, Any]]:
        """Custom attributes of each record; by email, of those that Intercom's search finds already."""
        by_id = self.object_name == "contacts" and self.identifier_field == "external_id"
        found = {} if self.object_name == "companies" or by_id else self._search([r.identifier for r in records])
        attributes = {}
        for record in records:
            if self.object_name == "companies":
                there: Sequence[Mapping[str, Any]] = self._companies(record.identifier)
            elif by_id:
                there = self._by_external_id(record.identifier)
            else:
                there = found[self._key(record.identifier)]
            if there:
                attributes[record.identifier] = there[0].get("custom_attributes") or {}
        return attributes

    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Writes record by record."""
        if self.object_name == "companies":
            return self.deliver_each(records, self._write_company)
        found = self._search([record.identifier for record in records])
        return self.deliver_each(
            records, lambda record: self._write_contact(record, found[self._key(record.identifier)])
        )

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """Bodies of the calls that create; an update has no role and no identifier."""
        body = self._company if self.object_name == "companies" else self._contact
        return [{"action": record.action, "identifier": record.identifier, "body": body(record)} for record in records]

    def seconds_to_wait(self, answer: httpx.Response) -> float | None:
        """Seconds until X-RateLimit-Reset, by the clock of the server that wrote it."""
        reset = answer.headers.get("x-ratelimit-reset", "")
        if not (reset.isascii() and reset.isdecimal() and len(reset) < 16):
            return retry_after(answer)
        try:
            now = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except (TypeError, ValueError, LookupError, OverflowError):
            now = time()
        seconds: float = float(reset) - now
        return max(0.0, seconds)

    def error_text(self, answer: httpx.Response) -> str:
        """Codes and messages of the error list."""
        try:
            errors = answer.json()["errors"]
            return "; ".join(f"{error['code']}: {error.get('message') or ''}" for error in errors)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return super().error_text(answer)

    def _contact(self, record: Record) -> dict[str, Any]:
        return {"role": "user", self.identifier_field: record.identifier} | attributes_of(record)

    def _company(self, record: Record) -> dict[str, Any]:
        return {"company_id": record.identifier} | texts_of(record)

    def _write_contact(self, record: Record, found: Sequence[Mapping[str, Any]]) -> Failure | None:
        if record.action != "upsert":
            found = found or self._by_external_id(record.identifier)
        if record.action == "delete":
            for contact in found:
                self._call_on_existing("DELETE", f"/contacts/{vendor_id(contact.get('id'))}")
            return None
        if len(found) > 1:
            # A lead may have the same email as the user that it became.
            found = [contact for contact in found if contact.get("role") == "user"]
            if len(found) != 1:
                raise RefusedError(f"several contacts have this {self.identifier_field}; merge them in Intercom")
        if found and self._call_on_existing(
            "PUT", f"/contacts/{vendor_id(found[0].get('id'))}", json=attributes_of(record)
        ):
            return None
        return None if record.action == "clear" else self._create_contact(record)

    def _create_contact(self, record: Record) -> Failure | None:
        answer = self.call("POST", "/contacts", success=SUCCESS, json=self._contact(record), accepted=(409,))
        if answer.status_code != 409:
            self._named(answer, record.identifier)
            return None
        message = self.mask(f"answered 409: {self.error_text(answer)}")
        existing = _EXISTING.search(self.error_text(answer))
        if existing and existing[1]:
            raise RefusedError(message)
        if existing:
            ids = [existing[2]]
        else:
            contacts = self._search([record.identifier])[self._key(record.identifier)]
            ids = [vendor_id(contact.get("id")) for contact in contacts]
        if len(ids) == 1 and self._call_on_existing("PUT", f"/contacts/{ids[0]}", json=attributes_of(record)):
            return None
        return Failure(message, again=True)

    def _write_company(self, record: Record) -> Failure | None:
        if record.action == "upsert":
            answer = self.call("POST", "/companies", success=SUCCESS, json=self._company(record))
            self._named(answer, record.identifier)
            return None
        for company in self._companies(record.identifier):
            company_id = vendor_id(company.get("id"))
            if record.action == "delete":
                self._call_on_existing("DELETE", f"/companies/{company_id}")
            else:
                self._call_on_existing("PUT", f"/companies/{company_id}", json=texts_of(record))
        return None

    def _call_on_existing(self, method: str, path: str, **given: Any) -> bool:
        """Makes a call, and returns whether the record was still there, so that the call took effect."""
        answer = self.call(method, path, success=SUCCESS, accepted=(404,), **given)
        if answer.status_code == 404:
            return False
        if _id(answer) != path.rpartition("/")[2]:
            raise UnavailableError("the answer names another record")
        if method == "DELETE" and json_object(answer).get("deleted") is not True:
            raise UnavailableError("the answer does not say that the record was deleted")
        return True

    def _named(self, answer: httpx.Response, identifier: str) -> str:
        """Intercom's own id of the record in an answer, which has to have this identifier."""
        said = json_object(answer).get(self.identifier_field)
        if not isinstance(said, str) or self._key(said) != self._key(identifier):
            raise UnavailableError("the answer does not name the record")
        return _id(answer)

    def _key(self, identifier: str) -> str:
        """What an identifier is compared by: emails that differ in case only are equal."""
        return identifier.casefold() if self.identifier_field == "email" else identifier

    def _search(self, identifiers: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
        """Contacts by identifier; none for an identifier that is not known, or too new to be found."""
        found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        query = {"field": self.identifier_field, "operator": "IN", "value": list(identifiers)}
        page: Mapping[str, Any] = {"per_page": PER_PAGE}
        wanted = {self._key(identifier) for identifier in identifiers}
        for _ in range(MOST_PAGES):
            body = {"query": query, "pagination": page}
            content = json_object(self.call("POST", "/contacts/search", success=SUCCESS, json=body))
            contacts = content.get("data")
            if content.get("type") != "list" or not isinstance(contacts, list):
                raise UnavailableError("the answer to a search cannot be read")
            try:
                for contact in contacts:
                    found[self._key(contact[self.identifier_field])].append(contact)
                following = (content.get("pages") or {}).get("next")
                page = {"per_page": PER_PAGE, "starting_after": following["starting_after"]} if following else {}
            except (LookupError, TypeError, AttributeError):
                raise UnavailableError("the answer to a search cannot be read") from None
            if not page:
                if set(found) - wanted or sum(map(len, found.values())) != content.get("total_count"):
                    raise UnavailableError("the answer to a search does not have what it counts")
                return found
        raise UnavailableError(f"a search has more than {MOST_PAGES} pages")

    def _by_external_id(self, identifier: str) -> list[Mapping[str, Any]]:
        """The user, even if a search does not find it yet."""
        if self.identifier_field != "external_id":
            return []
        answer = self.call(
            "GET", f"/contacts/find_by_external_id/{path_segment(identifier)}", success=SUCCESS, accepted=(404,)
        )
        return [] if answer.status_code == 404 else [json_object(answer) | {"id": self._named(answer, identifier)}]

    def _companies(self, identifier: str) -> list[dict[str, Any]]:
        """The company, where it is there; the answer is the company itself or a list with it."""
        answer = self.call("GET", "/companies", success=SUCCESS, params={"company_id": identifier}, accepted=(404,))
        if answer.status_code == 404:
            return []
        content = json_object(answer)
        companies = content.get("data", [content])
        if not isinstance(companies, list) or not all(isinstance(company, dict) for company in companies):
            raise UnavailableError("the answer to a look-up cannot be read")
        if any(company.get("company_id") != identifier for company in companies):
            raise UnavailableError("the answer to a look-up names another company")
        return companies


def _id(answer: httpx.Response) -> str:
    """Intercom's own id of the record in an answer.

    Raises:
        UnavailableError: it has none, so nobody knows whether the record was taken.

    """
    return vendor_id(json_object(answer).get("id"))
