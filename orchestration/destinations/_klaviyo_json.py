"""Bodies and answers of Klaviyo's JSON:API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import httpx
from pydantic import Field

from orchestration.destinations import UnavailableError
from orchestration.destinations._http import HttpOptions

_POINTER = re.compile(r"/profiles/data/([0-9]{1,9})(?:/|$)")


class KlaviyoOptions(HttpOptions):
    """How Klaviyo is called.

    Attributes:
        token_env: name of the environment variable that holds the private API key.
        revision: date of the API.
        poll_seconds: wait before a job is first asked for; later waits are longer.
        job_minutes: how long a job may take.

    """

    tuning: ClassVar[frozenset[str]] = HttpOptions.tuning | {"revision", "poll_seconds", "job_minutes"}
    token_env: str = "KLAVIYO_API_KEY"  # noqa: S105 the name of a variable
    revision: str = "2026-07-15"
    poll_seconds: float = Field(default=2.0, gt=0)
    job_minutes: float = Field(default=30.0, gt=0)


def errors_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """The error objects of an answer."""
    try:
        errors = answer.json()["errors"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []


def listed_in(content: Any) -> list[dict[str, Any]]:
    """The objects under ``data``.

    Raises:
        UnavailableError: there is no list of objects, or it is an answer of errors.

    """
    data = value_at(content, "data")
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data) or "errors" in content:
        raise UnavailableError("the answer has no list of objects")
    return data


def job_attributes(content: Any, job_id: str) -> dict[str, Any]:
    """The attributes of a job that was asked for.

    Raises:
        UnavailableError: the answer has those of something else, or none.

    """
    attributes = value_at(content, "data", "attributes")
    if value_at(content, "data", "id") != job_id or not isinstance(attributes, dict):
        raise UnavailableError("the answer is about another job")
    return attributes


def failed_of(job: Mapping[str, Any], sent: int) -> int:
    """How many profiles failed of a job that is complete.

    Raises:
        UnavailableError: it counts fewer profiles than were sent, or does not count.

    """
    completed, failed = job.get("completed_count"), job.get("failed_count") or 0
    if type(completed) is not int or type(failed) is not int or failed < 0 or completed + failed < sent:
        raise UnavailableError("the job counts fewer profiles than were sent")
    return failed


def next_cursor(content: Any) -> str | None:
    """Where the next page begins; nothing after the last."""
    links = content.get("links") if isinstance(content, dict) else None
    following = links.get("next") if isinstance(links, dict) else None
    try:
        return httpx.URL(following).params.get("page[cursor]") if following else None
    except (httpx.InvalidURL, TypeError):
        raise UnavailableError("the answer names a next page that is no address") from None


def identifier_of(error: Mapping[str, Any], field: str) -> str | None:
    """The identifier in the payload that an error repeats."""
    payload = error.get("original_payload")
    attributes = payload.get("attributes", payload) if isinstance(payload, dict) else None
    identifier = attributes.get(field) if isinstance(attributes, dict) else None
    return identifier if isinstance(identifier, str) else None


def pointed_place(error: Mapping[str, Any]) -> int | None:
    """The place in the job that an error points at."""
    source = error.get("source")
    pointed = _POINTER.search(str(source.get("pointer"))) if isinstance(source, dict) else None
    return int(pointed[1]) if pointed else None


def value_at(content: Any, *names: str) -> Any:
    """The value under nested names in an answer.

    Raises:
        UnavailableError: it is not there, so nobody knows what was taken.

    """
    for name in names:
        if not isinstance(content, dict) or name not in content:
            raise UnavailableError(f"the answer has no {'.'.join(names)}")
        content = content[name]
    return content


def import_body(profiles: list[dict[str, Any]]) -> dict[str, Any]:
    """Body of a bulk import job."""
    return {"data": {"type": "profile-bulk-import-job", "attributes": {"profiles": {"data": profiles}}}}


def deletion_body(profile: Mapping[str, Any] | None) -> dict[str, Any]:
    """Body of a data privacy deletion job; ``profile`` is what names the profile."""
    data = {"type": "profile", **(profile or {})}
    return {"data": {"type": "data-privacy-deletion-job", "attributes": {"profile": {"data": data}}}}
