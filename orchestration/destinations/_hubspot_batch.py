"""Inputs and answers of HubSpot's batch calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

import httpx
from pydantic import Field

from orchestration.destinations import Failure, Record, RefusedError, UnavailableError
from orchestration.destinations._http import HttpOptions, json_object

GONE = "OBJECT_NOT_FOUND"
_AGAIN = ("CONFLICT", "RATE_LIMITS", GONE)


class HubspotOptions(HttpOptions):
    """Which account.

    Attributes:
        token_env: name of the environment variable that holds the token of a private app.
        calls_in_ten_seconds: what the account's subscription allows one app.

    """

    tuning: ClassVar[frozenset[str]] = HttpOptions.tuning | {"calls_in_ten_seconds"}
    token_env: str = "HUBSPOT_TOKEN"  # noqa: S105 the name of a variable
    calls_in_ten_seconds: int = Field(default=100, ge=1)


class BatchAnswer(NamedTuple):
    """What a batch call answered: a result for each input that went through, and errors."""

    results: list[Any]
    errors: list[Any]


def read_batch(answer: httpx.Response) -> BatchAnswer:
    """Results and errors of a batch.

    Raises:
        UnavailableError: the answer has no results, so nobody knows what was taken.

    """
    content = json_object(answer)
    results, errors = content.get("results"), content.get("errors") or []
    if not isinstance(results, list) or not all(_is_result(result) for result in results):
        raise UnavailableError(f"answered {answer.status_code} without results")
    if not isinstance(errors, list) or not all(isinstance(error, dict) for error in errors):
        raise UnavailableError(f"answered {answer.status_code} with errors that cannot be read")
    if content.get("status") != "COMPLETE":
        raise UnavailableError(f"answered {answer.status_code} without saying that the batch is complete")
    if bool(errors) != (answer.status_code == 207):
        raise UnavailableError(f"answered {answer.status_code}, which does not fit its errors")
    return BatchAnswer(results, errors)


def _is_result(result: Any) -> bool:
    return isinstance(result, dict) and isinstance(result.get("id"), str) and bool(result["id"])


def property_of(result: Mapping[str, Any], name: str) -> str:
    """A property of a result; empty where it has none."""
    properties = result.get("properties")
    return str(properties.get(name)) if isinstance(properties, dict) else ""


def ids_of(error: Mapping[str, Any], key: str = "ids") -> list[Any]:
    """What an error names in its context."""
    context = error.get("context")
    named = context.get(key) if isinstance(context, dict) else None
    return named if isinstance(named, list) else []


def incomplete(identifiers: Sequence[str], reason: str) -> Exception:
    """Of several records nobody knows which were taken, so they are sent in halves; a single one stays in doubt."""
    return RefusedError(reason) if len(identifiers) > 1 else UnavailableError(reason)


def batch_input(record: Record, identifier: str) -> dict[str, Any]:
    """A record as an input, known by HubSpot's record id or by a unique property."""
    properties = {name: _text(value) for name, value in record.fields.items()}
    return {"id": identifier, "objectWriteTraceId": record.record_id, "properties": properties}


def error_reason(error: Mapping[str, Any]) -> str:
    """Category and message of an error."""
    return f"{error.get('category', 'error')}: {error.get('message', '')}"


def row_failure(error: Mapping[str, Any], verb: str, mask: Callable[[str], str]) -> Failure | None:
    """What an error of one input means."""
    category = error.get("category")
    if category == GONE and verb == "update":
        # Only records that are cleared are updated: this one was deleted after it was looked up.
        return None
    return Failure(mask(error_reason(error)), again=category in _AGAIN)


def named_inputs(ids: Iterable[Any], known: Mapping[str, str]) -> list[str]:
    """Identifiers of the inputs that an error names; ``known`` has them by trace id, or by id."""
    return [known[input_id] for input_id in ids if isinstance(input_id, str) and input_id in known]


def limit_policy(answer: httpx.Response) -> str:
    """Which limit a 429 is about; empty when the answer does not say."""
    try:
        content = answer.json()
    except (ValueError, RecursionError):
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
