"""What the API answers about entities, traits, members and changes: plain values, from one lookup each."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestration.serving.access import Caller, RequestError
from orchestration.serving.lookup import Held, Lookup, purposes_in

MOST_ROWS = 1_000
# Columns of the catalogue that are no statement about the trait itself.
_HIDDEN = frozenset({"serve", "default_value", "everyone"})


def entity_traits(
    lookup: Lookup, caller: Caller, entity_type: str, entity_id: str, only: frozenset[str]
) -> dict[str, Any]:
    """All published traits of an entity that the caller may see, or some of them.

    Raises:
        RequestError: nobody is known under the id, or consent does not name the caller's purpose.

    """
    caller.need_entity(entity_type, entity_id)
    known = lookup.entity(entity_type, entity_id)
    if known is None:
        raise RequestError(404, "not_found", f"No published trait is about this {entity_type}.")
    if not caller.is_allowed(known.purposes):
        raise RequestError(403, "no_consent", f"This {entity_type} has not consented to {caller.purpose}.")
    traits = {
        name: trait_answer(lookup, name, held)
        for name, held in known.traits.items()
        if caller.sees(lookup.traits[name]) and (not only or name in only)
    }
    return {"entity_type": entity_type, "entity_id": entity_id, **told_build(lookup), "traits": traits}


def trait_answer(lookup: Lookup, name: str, held: Held) -> dict[str, Any]:
    """A value with why, since when, how good the trait is, and how old the judgement is."""
    row = lookup.traits[name]
    return {
        "value": held.value,
        "since": held.since,
        "score": held.score,
        "reason": held.reason,
        "grade": row["grade"],
        "verdict": row["verdict"],
        "build_id": held.build_id,
        "age_seconds": age_seconds(row["judged_as_of"]),
    }


def catalogue(lookup: Lookup, caller: Caller) -> dict[str, Any]:
    """The published traits that the caller may see."""
    rows = [
        {name: value for name, value in row.items() if name not in _HIDDEN}
        | {"age_seconds": age_seconds(row["judged_as_of"])}
        for row in lookup.traits.values()
        if caller.sees(row)
    ]
    return {**told_build(lookup), "traits": rows}


def members(lookup: Lookup, caller: Caller, trait: str, value: str, cursor: str, limit: int) -> dict[str, Any]:
    """A page of the entities that have a value of a trait, in order of their ids.

    Raises:
        RequestError: no server asks, there is no such trait, or the cursor is none.

    """
    caller.need("reader")
    _need_trait(lookup, caller, trait)
    try:
        after = base64.urlsafe_b64decode(cursor.encode()).decode()
    except (ValueError, binascii.Error, UnicodeError):
        raise RequestError(400, "bad_request", "cursor: take it from next_cursor of the last page.") from None
    rows = lookup.members(trait, value, after, limit)
    last = rows[-1][0] if len(rows) == limit else None
    return {
        **told_build(lookup),
        "trait": trait,
        "value": lookup.typed(trait, value),
        "members": [
            member
            for member, consent in rows
            if caller.is_allowed(purposes_in(consent) if caller.purpose else frozenset())
        ],
        "next_cursor": base64.urlsafe_b64encode(last.encode()).decode() if last is not None else None,
    }


def changes(lookup: Lookup, caller: Caller, after: int, limit: int) -> dict[str, Any]:
    """A page of the ledger after a number.

    Raises:
        RequestError: no server asks, or the number lies before what is kept, or after the newest change.

    """
    caller.need("reader")
    oldest, newest = int(lookup.facts["oldest_seq"]), int(lookup.facts["newest_seq"])
    if after and after < oldest - 1:
        raise RequestError(
            410,
            "gone",
            f"Changes before {oldest} are no longer served; read the members of each trait, then after={newest}.",
        )
    if after > newest:
        raise RequestError(
            410, "gone", f"The newest change is {newest}: a backup was restored. Read the members, then after={newest}."
        )
    found, last = [], after
    rows = list(lookup.changes(after, limit))
    for row in rows:
        last = row["seq"]
        consent = row.pop("consent")
        trait = lookup.traits.get(row["trait"])
        if trait and caller.sees(trait) and (not caller.purpose or caller.is_allowed(purposes_in(consent))):
            for name in ("old_value", "new_value"):
                row[name] = lookup.typed(row["trait"], row[name]) if row[name] is not None else None
            found.append(row)
    return {**told_build(lookup), "changes": found, "next": last if len(rows) == limit else max(last, newest)}


def told_build(lookup: Lookup) -> dict[str, Any]:
    """Which build answers, and the clock it was made at."""
    return {"build_id": lookup.build_id, "as_of": lookup.facts["as_of"]}


def age_seconds(instant: str | None) -> int | None:
    """Whole seconds since an instant, which is UTC in ISO 8601; null where there is none."""
    if not instant:
        return None
    return max(0, int((datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds()))


def _need_trait(lookup: Lookup, caller: Caller, trait: str) -> Mapping[str, Any]:
    row = lookup.traits.get(trait)
    if row is None or not caller.sees(row):
        raise RequestError(404, "not_found", f"There is no published trait {trait}; /v1/traits lists all.")
    return row
