"""Who entered or left which trait, as a record says it: what becomes an event or a line that people read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestration.destinations._record import FieldNote, Record

_RECORD_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Move:
    """One entity enters or leaves one value of a trait.

    Attributes:
        field: of the record.
        entered: whether it enters; else it leaves.
        value: true for a boolean trait, else the category.
        note: the trait.
        since: from when on, naive UTC.
        reason: the published sentence; empty where the trait has no published value any more.

    """

    field: str
    entered: bool
    value: bool | str
    note: FieldNote
    since: datetime
    reason: str


def moves(record: Record, *, restate: bool = False) -> list[Move]:
    """What of the record's changes is a move, by field; a number is none.

    Args:
        record: a change, whatever it does.
        restate: where the change comes after one in doubt, tell every field as it is now: nobody knows what the
            receiver was told, and it has to be right in the end.

    """
    unsure = restate and _RECORD_ID.fullmatch(record.after) is not None
    found = []
    for field, before in record.changed.items():
        note = record.notes.get(field)
        if note is None or note.type == "number":
            continue
        is_published = record.action == "upsert" and note.since is not None
        had = _held(note, before)
        has = _held(note, record.fields[field]) if is_published else None
        since = note.since if is_published and note.since else record.as_of
        reason = record.reasons.get(field) or ""
        if had is not None and had != has:
            found.append(Move(field, False, had, note, since, reason))
        elif unsure and has is None and note.type == "boolean":
            found.append(Move(field, False, True, note, since, reason))
        if has is not None and (had != has or unsure):
            found.append(Move(field, True, has, note, since, reason))
    return found


def _held(note: FieldNote, value: Any) -> bool | str | None:
    """What a field says that its entity is in: true, a category, or nothing."""
    if note.type == "boolean":
        return True if str(value).lower() in ("true", "1", "1.0") else None
    return None if value is None or value == note.cleared else str(value)
