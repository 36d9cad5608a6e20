"""Published traits as flags of OFREP 0.3.0 (OpenFeature Remote Evaluation Protocol): ``trait.<name>``.

The reason is TARGETING_MATCH where a published value answers, and DEFAULT where none does. OFREP's own list of reasons
lacks DEFAULT, which OpenFeature has (specification, types, resolution reason); its SDKs read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from orchestration.serving.access import Caller
from orchestration.serving.lookup import Entity, Lookup

PREFIX = "trait."


class FlagError(Exception):
    """An evaluation that fails; ``code`` is one of OpenFeature's error codes."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def context_of(body: bytes) -> dict[str, Any]:
    """The evaluation context of a request, with its targetingKey.

    Raises:
        FlagError: it has none.

    """
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise FlagError(400, "PARSE_ERROR", "The body is no JSON.") from None
    context = request.get("context") if isinstance(request, dict) else None
    if not isinstance(context, dict):
        raise FlagError(400, "INVALID_CONTEXT", "The body has no context.")
    if not isinstance(context.get("targetingKey"), str) or not context["targetingKey"]:
        raise FlagError(400, "TARGETING_KEY_MISSING", "The context has no targetingKey: the id of the user.")
    return context


def evaluate(lookup: Lookup, caller: Caller, key: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """One flag for one user or account.

    Raises:
        FlagError: there is no such flag.
        RequestError: a browser asks for another user.

    """
    caller.need_entity("user", context["targetingKey"])
    row = lookup.traits.get(key.removeprefix(PREFIX)) if key.startswith(PREFIX) else None
    if row is None or not caller.sees(row):
        raise FlagError(404, "FLAG_NOT_FOUND", "There is no such flag; published traits are flags trait.<name>.")
    return _flag(lookup, caller, row, _entities(lookup, context, [row]))


def evaluate_all(lookup: Lookup, caller: Caller, context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every flag that the caller may see, in order of their keys.

    Raises:
        RequestError: a browser asks for another user.

    """
    caller.need_entity("user", context["targetingKey"])
    rows = [row for row in lookup.traits.values() if caller.sees(row)]
    entities = _entities(lookup, context, rows)
    return [_flag(lookup, caller, row, entities) for row in rows]


def etag_of(body: bytes) -> str:
    """The entity tag of an answer: equal answers have equal tags."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _entities(lookup: Lookup, context: Mapping[str, Any], rows: list[dict[str, Any]]) -> dict[str, Entity | None]:
    """Whom the flags are about: a user is the targetingKey, an account is ``account_id``, or else the targetingKey."""
    ids = {"user": context["targetingKey"], "account": str(context.get("account_id") or context["targetingKey"])}
    return {kind: lookup.entity(kind, ids[kind]) for kind in sorted({row["entity_type"] for row in rows})}


def _flag(
    lookup: Lookup, caller: Caller, row: Mapping[str, Any], entities: Mapping[str, Entity | None]
) -> dict[str, Any]:
    kind, trait = row["entity_type"], row["trait"]
    entity = entities[kind]
    held = entity.traits.get(trait) if entity else None
    metadata: dict[str, Any] = {"verdict": row["verdict"], "grade": row["grade"]}
    if held and entity and caller.is_allowed(entity.purposes):
        metadata |= {"since": held.since, "why": held.reason, "score": held.score, "build_id": held.build_id}
        if row["verdict"] != "passed":
            metadata["last_good_as_of"] = row["judged_as_of"]
        value, variant, reason = held.value, _variant(held.value), "TARGETING_MATCH"
    else:
        why = f"Nothing is published about this {kind}."
        if entity:
            why = f"This trait has no value for this {kind}." if held is None else f"No consent to {caller.purpose}."
        metadata["why"] = why
        value, variant, reason = lookup.typed(trait, row["default_value"]), "default", "DEFAULT"
    told = {name: fact for name, fact in metadata.items() if fact is not None}
    return {"key": PREFIX + trait, "value": value, "variant": variant, "reason": reason, "metadata": told}


def _variant(value: bool | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
