"""Records that destinations are given, and what they answer or raise."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal


@dataclass(frozen=True)
class FieldNote:
    """What a field says of which trait.

    Attributes:
        trait: name of the trait.
        title: of the trait.
        type: of its value: boolean, number or category.
        owner: the team that answers for it.
        version: of its definition.
        cleared: what stands in the field once the trait has no published value.
        since: from when on the published value holds, naive UTC; nothing where there is none.

    """

    trait: str
    title: str
    type: str
    owner: str
    version: int
    cleared: Any = None
    since: datetime | None = None


@dataclass(frozen=True)
class Record:
    """A record of a destination, as it should be there.

    Attributes:
        sync: name of the sync.
        entity_type: user or account.
        entity_id: user_id or account_id whose published values the record has.
        identifier: by which the destination knows the record: that id, or an attribute such as the email.
        action: upsert writes the fields, clear writes what a cleared trait becomes into each, delete removes the record
            (or clears it, where the destination cannot remove records).
        fields: field -> value of its declared type; null empties it.
        changed: field that differs from what was acknowledged -> the acknowledged value.
        reasons: changed field -> the published sentence.
        build_id: the snapshot's build.
        as_of: the snapshot's clock, naive UTC.
        forgotten: whether the entity was forgotten in this home, so that the receiver is to delete it.
        source: hash of the published values and of the declaration that made the fields.
        after: what the change comes after: the last acknowledgement, or a change in doubt; empty before the first.
        notes: field -> what it says of which trait; fields that stay as they are have none.
        label: by what people know the entity (key ``label`` of the sync); empty where that is not known.

    """

    sync: str
    entity_type: str
    entity_id: str
    identifier: str
    action: Literal["upsert", "clear", "delete"]
    fields: dict[str, Any]
    changed: dict[str, Any]
    reasons: dict[str, str]
    build_id: str
    as_of: datetime
    forgotten: bool = False
    source: str = ""
    after: str = ""
    notes: dict[str, FieldNote] = field(default_factory=dict)
    label: str = ""

    @cached_property
    def record_id(self) -> str:
        """Id of the change, the same for every attempt to deliver it, so that a receiver can drop repetitions.

        It depends on what the change comes after, so that the same values written again later have another id.
        """
        change = [self.sync, self.identifier, self.entity_id, self.action, self.fields, self.after]
        text = json.dumps(change, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def delta(self) -> dict[str, Any]:
        """The changed fields with their new values."""
        return {name: self.fields[name] for name in self.changed}

    def message(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        message: dict[str, Any] = {"forgotten": True} if self.forgotten else {}
        message |= {"deleted": True} if self.action == "delete" else {}
        message |= {"identifier": self.identifier} if self.identifier != self.entity_id else {}
        return message | {
            "entity_type": self.entity_type,
            "entity_id": self.entity_id,
            "traits": self.fields,
            "changed": {
                name: {"from": old, "to": self.fields[name], "reason": self.reasons.get(name)}
                for name, old in self.changed.items()
            },
            "as_of": f"{self.as_of.isoformat()}Z",
            "build_id": self.build_id,
        }


@dataclass(frozen=True)
class Failure:
    """Why a record was not acknowledged.

    Attributes:
        reason: in a few words, without secrets.
        again: whether the same record may go through when it is tried again soon (a lock, a limit); else it was
            refused.

    """

    reason: str
    again: bool = False


Outcomes = list[Failure | None]
"""For each record of a batch, in its order: why it failed, or nothing when it was acknowledged."""

OutcomesByIdentifier = dict[str, Failure | None]
"""The same by the records' identifiers."""


class RefusedError(Exception):
    """The destination refused a batch as a whole; its halves may go through. The text has no secret."""


class UnavailableError(Exception):
    """Nobody answered, or the destination cannot take anything now; the batch is tried again. The text has no secret.

    Attributes:
        seconds: how long to wait, where the destination says so: a finite number that is not negative.

    """

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds if seconds is not None and math.isfinite(seconds) and seconds >= 0 else None


class LimitedError(UnavailableError):
    """The destination asks for a pause (429 and the like), which is granted more often than a failure."""


class ClosedError(Exception):
    """Nothing can be delivered before a person acts (a wrong key, an endpoint that is gone). The text has no secret."""
