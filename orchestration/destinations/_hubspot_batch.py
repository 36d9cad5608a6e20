"""Inputs and answers of HubSpot's batch calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import httpx

from orchestration.destinations import Record, UnavailableError
from orchestration.destinations._http import json_of


class BatchAnswer(NamedTuple):
    """What a batch call answered: a result for each input that went through, and errors."""

    results: list[Any]
    errors: list[Any]


def read_batch(answer: httpx.Response) -> BatchAnswer:
    """Results and errors of a batch.

    Raises:
        UnavailableError: the answer has no results, so nobody knows what was taken.

    """
    content = json_of(answer)
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, list):
        raise UnavailableError(f"answered {answer.status_code} without results")
    return BatchAnswer(results, content.get("errors") or [])


def batch_input(record: Record, identifier: str) -> dict[str, Any]:
    """A record as an input, known by HubSpot's record id or by a unique property."""
    properties = {name: _text(value) for name, value in record.fields.items()}
    return {"id": identifier, "objectWriteTraceId": record.record_id, "properties": properties}


def error_reason(error: Mapping[str, Any]) -> str:
    """Category and message of an error."""
    return f"{error.get('category', 'error')}: {error.get('message', '')}"


def named_inputs(ids: Iterable[str] | None, known: Mapping[str, str]) -> list[str]:
    """Identifiers of the inputs that an error names; ``known`` has them by trace id, or by id."""
    return [known[input_id] for input_id in ids or () if input_id in known]


def limit_policy(answer: httpx.Response) -> str:
    """Which limit a 429 is about; empty when the answer does not say."""
    try:
        content = answer.json()
    except ValueError:
        return ""
    return str(content.get("policyName", "")) if isinstance(content, dict) else ""


def _text(value: Any) -> str:
    """A value as text, which is all that HubSpot takes."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else f"{Decimal(repr(value)):f}"
