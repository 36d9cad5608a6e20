"""Klaviyo's bulk profile import, deletion jobs and profile filter, after its OpenAPI documents (revision 2026-07-15).

A job is queued, then processing, then complete; what it writes is there once it is complete. It passes over null, as
Klaviyo's guide says; ``unset`` removes a property.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote

from tests.orchestration.destinations.standins import Answer, HttpStandIn, Request

KEY = "pk_private_key_of_klaviyo_00000000"
JOBS = "/api/profile-bulk-import-jobs"
IDENTIFIERS = ("external_id", "email", "phone_number")
KNOWN = {*IDENTIFIERS, "_kx", "first_name", "last_name", "organization", "locale", "title", "image", "location"}
STATUSES = ("queued", "processing", "complete")
CREATED = "2024-06-30T00:00:00+00:00"


class KlaviyoStandIn(HttpStandIn):
    """Keeps custom properties of profiles.

    Attributes:
        payload: what ``original_payload`` of an import error holds: profile, attributes, or nothing.
        stuck: jobs stay in this status.

    """

    name = "klaviyo"
    spared: ClassVar[Mapping[str, str]] = {"token": "a private key does not expire"}

    def __init__(self) -> None:
        super().__init__()
        self.profiles: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.ids = itertools.count(1)
        self.payload = "profile"
        self.stuck = ""

    def declaration(self) -> dict[str, Any]:
        options = {"base_url": self.url, "timeout_seconds": 0.4, "poll_seconds": 0.002}
        return {"destination": "klaviyo", "options": options}

    def environment(self) -> dict[str, str]:
        return {"KLAVIYO_API_KEY": KEY}

    def handle(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Klaviyo-API-Key {KEY}":
            return refused(401, "not_authenticated", "Missing or invalid private key.")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", request.headers.get("revision", "")):
            return refused(400, "invalid", "The revision header is missing.")
        if request.method == "POST" and request.headers.get("content-type") != "application/vnd.api+json":
            return refused(415, "unsupported", "The media type is application/vnd.api+json.")
        query = {name: values[0] for name, values in parse_qs(request.query).items()}
        path = request.path.removeprefix(JOBS).strip("/").split("/")
        if (request.method, request.path) == ("POST", JOBS):
            return self.import_profiles(request)
        if (request.method, request.path) == ("POST", "/api/data-privacy-deletion-jobs"):
            return self.delete(request.json)
        if (request.method, request.path) == ("GET", "/api/profiles"):
            return self.find(query)
        if request.method == "GET" and request.path.startswith(JOBS) and path[0] in self.jobs:
            return self.import_errors(path[0], query) if path[1:] == ["import-errors"] else self.job(path[0])
        return refused(404, "not_found", "There is no such resource.")

    def import_profiles(self, request: Request) -> Answer:
        data = request.json["data"]
        if data.get("type") != "profile-bulk-import-job":
            return refused(400, "invalid", "The type is wrong.", "/data/type")
        given = data["attributes"]["profiles"]["data"]
        if not given or len(given) > 10_000:
            return refused(400, "invalid", "Between 1 and 10000 profiles.", "/data/attributes/profiles/data")
        if len(request.body) > 5_000_000:
            return refused(413, "too_large", "The payload is larger than 5MB.")
        errors = [
            told("invalid", wrong, f"/data/attributes/profiles/data/{index}/attributes")
            for index, profile in enumerate(given)
            if (wrong := malformed(profile))
        ]
        if errors:
            return Answer(400, {"errors": errors})
        job_id = f"job{next(self.ids)}"
        self.jobs[job_id] = {"given": given, "asked": 0, "errors": [], "done": False}
        return Answer(202, self.told_job(job_id))

    def job(self, job_id: str) -> Answer:
        job = self.jobs[job_id]
        job["asked"] += 1
        if job["asked"] >= 2 and not self.stuck and not job["done"]:
            self.finish(job)
        return Answer(200, self.told_job(job_id))

    def told_job(self, job_id: str) -> dict[str, Any]:
        job = self.jobs[job_id]
        failed = len({error["index"] for error in job["errors"]})
        attributes = {
            "status": self.stuck or STATUSES[min(job["asked"], 2)],
            "created_at": CREATED,
            "total_count": len(job["given"]),
            "completed_count": len(job["given"]) - failed if job["done"] else 0,
            "failed_count": failed,
        }
        links = {"self": f"{self.url}{JOBS}/{job_id}"}
        data = {"type": "profile-bulk-import-job", "id": job_id, "attributes": attributes, "links": links}
        return {"data": data}

    def finish(self, job: dict[str, Any]) -> None:
        job["done"] = True
        written = []
        for index, profile in enumerate(job["given"]):
            identifier = identifier_of(profile["attributes"])
            if identifier in self.poisoned:
                payload = {"profile": profile, "attributes": profile["attributes"]}.get(self.payload)
                pointer = f"/data/attributes/profiles/data/{index}" if self.payload == "pointer" else "/data"
                job["errors"].append(
                    {
                        "index": index,
                        "type": "import-error",
                        "id": f"error{next(self.ids)}",
                        "attributes": {
                            "code": "invalid",
                            "title": "Invalid input",
                            "detail": "The identifier is not valid.",
                            "source": {"pointer": pointer},
                            "original_payload": payload,
                        },
                    }
                )
                continue
            written.append(identifier)
            kept = self.profiles.setdefault(identifier, {"id": f"01{next(self.ids):08}", "properties": {}})
            kept |= {name: profile["attributes"][name] for name in IDENTIFIERS if name in profile["attributes"]}
            given = profile["attributes"].get("properties") or {}
            kept["properties"] |= {name: value for name, value in given.items() if value is not None}
            unset = ((profile.get("meta") or {}).get("patch_properties") or {}).get("unset") or []
            for name in [unset] if isinstance(unset, str) else unset:
                kept["properties"].pop(name, None)
        self.writes.append(written)

    def import_errors(self, job_id: str, query: dict[str, str]) -> Answer:
        size, begun = int(query.get("page[size]", 20)), int(query.get("page[cursor]", 0))
        if not 1 <= size <= 100:
            return refused(400, "invalid", "page[size] is between 1 and 100.")
        errors = [{k: v for k, v in error.items() if k != "index"} for error in self.jobs[job_id]["errors"]]
        links: dict[str, Any] = {"self": f"{self.url}{JOBS}/{job_id}/import-errors", "next": None}
        if len(errors) > begun + size:
            links["next"] = f"{links['self']}?{quote('page[cursor]')}={begun + size}"
        return Answer(200, {"data": errors[begun : begun + size], "links": links})

    def find(self, query: dict[str, str]) -> Answer:
        asked = re.fullmatch(r"any\(external_id,(\[.*\])\)", query.get("filter", ""))
        if not asked or int(query.get("page[size]", 20)) > 100:
            return refused(400, "invalid", "The filter is not valid.")
        wanted = json.loads(asked[1])
        found = [profile for profile in self.profiles.values() if profile.get("external_id") in wanted]
        data = [
            {
                "type": "profile",
                "id": profile["id"],
                "attributes": {"external_id": profile["external_id"]},
                "links": {"self": ""},
            }
            for profile in found
        ]
        return Answer(200, {"data": data[: int(query.get("page[size]", 20))], "links": {"self": "", "next": None}})

    def delete(self, body: dict[str, Any]) -> Answer:
        data = body["data"]
        profile = data["attributes"]["profile"]["data"]
        named = {name: value for name, value in profile["attributes"].items() if value}
        named |= {"id": profile["id"]} if profile.get("id") else {}
        if data["type"] != "data-privacy-deletion-job" or len(named) != 1 or "external_id" in named:
            return refused(400, "invalid", "Give one of email, phone_number or id.")
        ((name, value),) = named.items()
        gone = [key for key, profile in self.profiles.items() if profile.get(name) == value]
        self.writes.append(gone)
        for key in gone:
            del self.profiles[key]
        return Answer(202)

    def state(self) -> dict[str, dict[str, Any]]:
        # A job goes on whether somebody asks for it or not.
        for job in self.jobs.values():
            if not (self.stuck or job["done"]):
                self.finish(job)
        return {identifier: dict(profile["properties"]) for identifier, profile in self.profiles.items()}


def malformed(profile: Any) -> str:
    """What a job is not even made for."""
    if (
        not isinstance(profile, dict)
        or profile.get("type") != "profile"
        or not isinstance(profile.get("attributes"), dict)
    ):
        return "A profile has a type and attributes."
    attributes = profile["attributes"]
    if unknown := set(attributes) - KNOWN - {"properties"}:
        return f"{min(unknown)} is not a field of a profile."
    if not identifier_of(attributes):
        return "One of external_id, email and phone_number is required."
    if attributes.get("email") and "@" not in attributes["email"]:
        return "The email address is not valid."
    if attributes.get("phone_number") and not re.fullmatch(r"\+\d{7,15}", attributes["phone_number"]):
        return "The phone number is not valid."
    if len(json.dumps(profile, ensure_ascii=False, separators=(",", ":")).encode()) > 100_000:
        return "The profile is larger than 100KB."
    return ""


def identifier_of(attributes: dict[str, Any]) -> str:
    """The first identifier that is given."""
    return next((str(attributes[name]) for name in IDENTIFIERS if attributes.get(name)), "")


def told(code: str, detail: str, pointer: str = "/data") -> dict[str, Any]:
    """One error of JSON:API."""
    return {"id": "e", "status": "400", "code": code, "title": "Invalid input.", "detail": detail} | {
        "source": {"pointer": pointer}
    }


def refused(status: int, code: str, detail: str, pointer: str = "/data") -> Answer:
    """An answer that is one error."""
    return Answer(status, {"errors": [told(code, detail, pointer)]})
