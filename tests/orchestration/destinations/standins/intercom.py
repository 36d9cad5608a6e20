"""Intercom's REST API 2.14: contacts and companies, as its OpenAPI description and its pages on errors and limits say.

A contact that was just created can be kept from searches, as Intercom's index does for minutes (``unsearchable``).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote

from tests.orchestration.destinations.standins import Answer, HttpStandIn, Request

TOKEN = "dG9rOmludGVyY29tLXRva2VuLW9mLXRlc3Q="
VERSIONS = {f"2.{minor}" for minor in range(15)}
CONTACT_KEYS = {"role", "external_id", "email", "phone", "name", "avatar", "signed_up_at", "last_seen_at", "owner_id"}
CONTACT_KEYS |= {"unsubscribed_from_emails", "custom_attributes"}
COMPANY_KEYS = {"company_id", "name", "plan", "size", "website", "industry", "monthly_spend", "remote_created_at"}
COMPANY_KEYS |= {"custom_attributes"}


class IntercomStandIn(HttpStandIn):
    """Contacts and companies by Intercom's own id; custom attributes have to be declared, each with its type."""

    name = "intercom"
    spared: ClassVar[Mapping[str, str]] = {"token": "an access token does not expire"}

    def __init__(self) -> None:
        super().__init__()
        self.contacts: dict[str, dict[str, Any]] = {}
        self.companies: dict[str, dict[str, Any]] = {}
        self.attributes = {"at_risk": "boolean", "score": "float", "stage": "string", "seats": "integer"}
        # The description types custom attributes of a company as text.
        self.company_attributes = dict.fromkeys(self.attributes, "string")
        self.described: dict[str, str] = {}
        self.unsearchable: set[str] = set()
        self.archived: set[str] = set()
        # Whether a 409 says whom it is about.
        self.conflict_names_id = True
        # One company by its company_id is a list in the description, and itself in the description's words.
        self.lists_a_company = True

    def declaration(self) -> dict[str, Any]:
        return {"destination": "intercom", "options": {"base_url": self.url, "timeout_seconds": 0.4}}

    def environment(self) -> dict[str, str]:
        return {"INTERCOM_TOKEN": TOKEN}

    def state(self) -> dict[str, dict[str, Any]]:
        kept = [(contact["external_id"] or contact["email"], contact) for contact in self.contacts.values()]
        kept += [(company["company_id"], company) for company in self.companies.values()]
        return {name: dict(kept_record["custom_attributes"]) for name, kept_record in kept}

    def is_write(self, request: Request) -> bool:
        return request.method != "GET" and request.path != "/contacts/search"

    def handle(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return errors(401, "unauthorized", "Access Token Invalid")
        if request.headers.get("intercom-version") not in VERSIONS:
            return errors(400, "intercom_version_invalid", "The requested version could not be found")
        if request.method in ("POST", "PUT") and request.headers.get("content-type") != "application/json":
            return errors(415, "media_type_not_acceptable", "The Accept header should send a media type of JSON")
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["contacts", "search"]:
                return self.search(request.json)
            case "POST", ["contacts"]:
                return self.create_contact(request.json)
            case "GET", ["contacts", "find_by_external_id", external_id]:
                found = [contact for contact in self.live() if contact["external_id"] == unquote(external_id)]
                return Answer(200, found[0]) if found else errors(404, "not_found", "User Not Found")
            case "PUT", ["contacts", ours]:
                known = self.contacts.get(ours)
                return self.written(known, request.json) if known else errors(404, "not_found", "User Not Found")
            case "DELETE", ["contacts", ours]:
                gone = self.contacts.pop(ours, None)
                if gone is None:
                    return errors(404, "not_found", "User Not Found")
                self.writes.append([gone["external_id"] or gone["email"]])
                return Answer(200, {"type": "contact", "id": ours, "external_id": gone["external_id"], "deleted": True})
            case "GET", ["data_attributes"]:
                return self.listed(parse_qs(request.query)["model"][0])
            case "POST", ["data_attributes"]:
                return self.create_attribute(request.json)
            case "POST", ["companies"]:
                return self.create_or_update_company(request.json)
            case "GET", ["companies"]:
                (wanted,) = parse_qs(request.query)["company_id"]
                hits = [company for company in self.companies.values() if company["company_id"] == wanted]
                if not hits:
                    return errors(404, "company_not_found", "Company Not Found")
                listed = {"type": "list", "data": hits, "total_count": 1}
                return Answer(200, listed if self.lists_a_company else hits[0])
            case "PUT", ["companies", ours]:
                company = self.companies.get(ours)
                return (
                    self.written(company, request.json)
                    if company
                    else errors(404, "company_not_found", "Company Not Found")
                )
            case "DELETE", ["companies", ours]:
                if self.companies.pop(ours, None) is None:
                    return errors(404, "company_not_found", "Company Not Found")
                return Answer(200, {"id": ours, "object": "company", "deleted": True})
        return errors(404, "not_found", "Resource Not Found")

    def attributes_of(self, model: str) -> dict[str, str]:
        return self.attributes if model == "contact" else self.company_attributes

    def listed(self, model: str) -> Answer:
        own = {"type": "data_attribute", "model": model, "name": "name", "data_type": "string", "custom": False}
        custom = [
            own | {"name": name, "full_name": f"custom_attributes.{name}", "data_type": kind, "custom": True}
            for name, kind in self.attributes_of(model).items()
        ]
        return Answer(200, {"type": "list", "data": [own, *custom]})

    def create_attribute(self, body: Any) -> Answer:
        kinds = ("string", "integer", "float", "boolean", "datetime", "date")
        if body.get("model") not in ("contact", "company") or body.get("data_type") not in kinds:
            return errors(400, "parameter_invalid", "model or data_type is invalid")
        known = self.attributes_of(body["model"])
        if body["name"] in known:
            return errors(400, "parameter_invalid", "You already have that attribute")
        known[body["name"]] = body["data_type"]
        self.described[body["name"]] = body.get("description", "")
        return Answer(200, {"type": "data_attribute", "id": len(known), "custom": True, "archived": False} | body)

    def live(self) -> list[dict[str, Any]]:
        return [contact for ours, contact in self.contacts.items() if ours not in self.archived]

    def search(self, body: Any) -> Answer:
        query, page = body["query"], body.get("pagination", {})
        if query["field"] not in ("external_id", "email", "id", "role", "name", "phone"):
            return errors(400, "invalid_field", f"{query['field']} is not a searchable field")
        if (query["operator"] == "IN") != isinstance(query["value"], list) or query["operator"] not in ("=", "IN"):
            return errors(400, "invalid_value", "The value does not fit the operator")
        size = page.get("per_page", 50)
        if not 1 <= size <= 150:
            return errors(400, "parameter_invalid", "per_page must be a number between 1 and 150")
        wanted = query["value"] if query["operator"] == "IN" else [query["value"]]
        # Whatever its case, an email is the same.
        wanted = {value.lower() if query["field"] == "email" else value for value in wanted}
        hits = [
            contact
            for contact in self.live()
            if contact[query["field"]] in wanted and contact["id"] not in self.unsearchable
        ]
        begin = int(page.get("starting_after") or 0)
        more = begin + size < len(hits)
        pages: dict[str, Any] = {"type": "pages", "page": begin // size + 1, "per_page": size}
        pages["total_pages"] = -(-len(hits) // size)
        if more:
            pages["next"] = {"per_page": size, "starting_after": str(begin + size)}
        found = hits[begin : begin + size]
        return Answer(200, {"type": "list", "data": found, "total_count": len(hits), "pages": pages})

    def create_contact(self, body: Any) -> Answer:
        if not {"email", "external_id", "role"} & body.keys():
            return errors(400, "parameter_missing", "One of email, external_id or role is needed")
        if body.get("role", "user") not in ("user", "lead"):
            return errors(400, "parameter_invalid", "Role must be user or lead")
        email = body["email"].lower() if body.get("email") else None
        for ours, contact in self.contacts.items():
            clash = contact["external_id"] is not None and contact["external_id"] == body.get("external_id")
            clash |= bool(email) and contact["email"] == email and contact["role"] == body.get("role", "user") == "user"
            if clash:
                who = "An archived contact" if ours in self.archived else "A contact"
                with_id = f" with id={ours}" if self.conflict_names_id else ""
                return errors(409, "conflict", f"{who} matching those details already exists{with_id}")
        ours = uuid.uuid4().hex[:24]
        made = {"type": "contact", "id": ours, "workspace_id": "ws", "role": body.get("role", "user")}
        made |= {"external_id": body.get("external_id"), "email": email, "custom_attributes": {}}
        answer = self.written(made, body, CONTACT_KEYS)
        if answer.status == 200:
            self.contacts[ours] = made
        return answer

    def create_or_update_company(self, body: Any) -> Answer:
        if not isinstance(body.get("company_id"), str):
            return errors(400, "bad_request", "bad 'company_id' parameter")
        known = [company for company in self.companies.values() if company["company_id"] == body["company_id"]]
        made = {"type": "company", "id": uuid.uuid4().hex[:24], "app_id": "ws", "company_id": body["company_id"]}
        made |= {"name": body.get("name", ""), "created_at": 1734537338, "updated_at": 1734537338, "user_count": 0}
        made |= {"session_count": 0, "monthly_spend": 0, "custom_attributes": {}}
        company = known[0] if known else made
        answer = self.written(company, body, COMPANY_KEYS)
        if answer.status == 200:
            self.companies[company["id"]] = company
        return answer

    def written(self, target: dict[str, Any], body: Any, keys: set[str] | None = None) -> Answer:
        """Merges custom attributes, all or none; a null empties one."""
        unknown = body.keys() - (
            keys or (CONTACT_KEYS if target["type"] == "contact" else COMPANY_KEYS - {"company_id"})
        )
        if unknown:
            return errors(400, "bad_request", f"bad '{min(unknown)}' parameter")
        who = target.get("company_id") or target.get("external_id") or target.get("email")
        if who in self.poisoned:
            return errors(422, "unprocessable_entity", "The data was well-formed but invalid")
        given = body.get("custom_attributes") or {}
        for name, value in given.items():
            kind = self.attributes_of(target["type"]).get(name)
            if kind is None:
                return errors(400, "parameter_invalid", f"Custom attribute '{name}' does not exist")
            may_be_null = target["type"] == "contact"
            if not (value is None and may_be_null) and not fits(kind, value):
                return errors(400, "type_mismatch", f"Custom attribute '{name}' is of type {kind}")
        merged = target["custom_attributes"] | given
        target["custom_attributes"] = {name: value for name, value in merged.items() if value not in (None, "")}
        self.writes.append([who])
        return Answer(200, target)


def fits(kind: str, value: Any) -> bool:
    if kind == "string":
        return isinstance(value, str) and len(value) <= 255
    if kind == "boolean":
        return isinstance(value, bool)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (kind == "float" and isinstance(value, float))


def errors(status: int, code: str, message: str) -> Answer:
    said = {"type": "error.list", "request_id": str(uuid.uuid4()), "errors": [{"code": code, "message": message}]}
    return Answer(status, said)
