"""Bodies and answers of Klaviyo's JSON:API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from orchestration.destinations import UnavailableError


def errors_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """The error objects of an answer."""
    try:
        errors = answer.json()["errors"]
    except (ValueError, KeyError, TypeError):
        return []
    return [error for error in errors if isinstance(error, dict)]


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
