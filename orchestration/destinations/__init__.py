"""Destinations: one file each in this folder, one class each, found by looking and never registered.

What a destination does is turn records into calls and answers into outcomes. Batches, order, retries, waiting,
bisecting, acknowledging and everything else that they share is the engine's (``orchestration/sync``).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from orchestration.declarations.syncs import Sync
from orchestration.destinations._pace import Pace, Rate
from orchestration.errors import UsageError

ANY_TYPE = frozenset({"boolean", "number", "string"})


@dataclass(frozen=True)
class Record:
    """One record of a destination, as it should be there.

    Attributes:
        sync: name of the sync.
        entity_type: user or account.
        entity_id: user_id or account_id that the values were published of.
        identifier: by which the destination knows it: that id, or an attribute such as the email.
        action: upsert writes the fields, clear writes what a cleared trait becomes into each, delete removes the record
            (or clears it, where the destination cannot remove).
        fields: field -> value of its declared type; null empties it.
        changed: fields that differ from what was acknowledged -> the acknowledged value.
        reasons: changed field -> the published sentence.
        build_id: the snapshot's build.
        as_of: the snapshot's clock, naive UTC.
        forgotten: the entity was forgotten in this home; the receiver is to delete it.
        source: hash of the published values and of the declaration that made the fields.
        after: what the change comes after: the last acknowledgement, or a change in doubt; empty before the first.

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

    @cached_property
    def record_id(self) -> str:
        """The same for every attempt to deliver this change, so that a receiver can drop a repetition.

        What it comes after is part of it, so that the same change made again later is a new one.
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
        said: dict[str, Any] = {"forgotten": True} if self.forgotten else {}
        said |= {"deleted": True} if self.action == "delete" else {}
        said |= {"identifier": self.identifier} if self.identifier != self.entity_id else {}
        return said | {
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
        again: the same record may go through when it is tried again soon (a lock, a limit); else it was refused.

    """

    reason: str
    again: bool = False


Outcomes = list[Failure | None]
"""For each record of a batch, in its order: why it failed, or nothing when it was acknowledged."""


class RefusedError(Exception):
    """The destination refused a batch as a whole; its halves may go through. The text has no secret."""


class UnavailableError(Exception):
    """Nobody answered, or the destination cannot take anything now; the batch is tried again. The text has no secret.

    Attributes:
        seconds: how long to wait, where the destination said so.

    """

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


class LimitedError(UnavailableError):
    """The destination asks for a pause (429 and its like): no failure, and no try that counts."""


class ClosedError(Exception):
    """Nothing can be delivered before a person acts (a wrong key, an endpoint that is gone). The text has no secret."""


class Options(BaseModel):
    """What a sync may set for its destination; an unknown key is an error.

    Attributes:
        tuning: names of those that may change without the records being elsewhere.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tuning: ClassVar[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class ObjectKind:
    """One kind of record that a destination keeps.

    Attributes:
        entity: user or account.
        identifier_field: field of the identifier there, when a sync names none.
        types: what its fields can hold; the keys that a sync may cast to.
        field_pattern: regular expression that the name of a field has to match as a whole.
        deletes: whether a record can be removed; else it is cleared.

    """

    entity: Literal["user", "account"]
    identifier_field: str
    types: frozenset[str] = ANY_TYPE
    field_pattern: str = r"\w+"
    deletes: bool = False


class Destination(ABC):
    """One kind of place that records are delivered to.

    Attributes:
        remote: whether deliveries leave this machine; then only production really sends.
        objects: name -> kind of record; the first of an entity is its default.
        batch_size: most records a call of ``deliver``.
        batch_bytes: most bytes of a batch, as ``size`` measures its records; a larger record is refused.
        workers: how many batches are under way at once; one, where order between records matters.
        rates: limits on calls, over all workers; each HTTP call takes one.
        options_type: what the declaration may set.

    """

    remote: ClassVar[bool]
    objects: ClassVar[Mapping[str, ObjectKind]]
    batch_size: ClassVar[int]
    batch_bytes: ClassVar[int] = 1 << 30
    workers: ClassVar[int] = 1
    rates: ClassVar[tuple[Rate, ...]] = ()
    options_type: ClassVar[type[Options]] = Options

    def __init__(self, sync: Sync, outbox: Path, pace: Pace | None = None) -> None:
        self.sync = sync
        self.options: Any = self.options_type.model_validate(sync.options)
        self.outbox = outbox
        self.pace = pace or Pace(self.rates)
        self._secrets: set[str] = set()

    @classmethod
    def object_of(cls, sync: Sync) -> tuple[str, ObjectKind]:
        """Name and kind of record that a sync writes, by its name or by its entity.

        Raises:
            UsageError: there is none.

        """
        for name, kind in cls.objects.items():
            if kind.entity == sync.entity and sync.object in ("", name):
                return name, kind
        names = ", ".join(f"{name} ({kind.entity}s)" for name, kind in cls.objects.items())
        said = f"object {sync.object!r}" if sync.object else f"object for {sync.entity}s"
        raise UsageError(f"{sync.where}: {sync.destination} has no {said}.", f"There are: {names}.")

    @classmethod
    def is_remote(cls, sync: Sync) -> bool:
        """``remote``, where the options of a sync do not decide it."""
        return cls.remote

    @property
    def object_name(self) -> str:
        """Name of the kind of record."""
        return self.object_of(self.sync)[0]

    @property
    def identifier_field(self) -> str:
        """The destination's field of the identifier."""
        return self.sync.identifier_field or self.object_of(self.sync)[1].identifier_field

    def secret(self, variable: str) -> str:
        """A secret from the environment; it is masked in whatever is told.

        Raises:
            UsageError: it is not set.

        """
        value = os.environ.get(variable)
        if not value:
            raise UsageError(
                f"{self.sync.where}: the environment variable {variable} is not set.", "The destination reads it."
            )
        self._secrets.add(value)
        return value

    def mask(self, text: str) -> str:
        """The text without any secret, in one line of at most 300 characters."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return " ".join(text.split())[:300]

    @abstractmethod
    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Delivers a batch; thread-safe where ``workers`` is above one.

        Raises:
            RefusedError: the batch was refused as a whole.
            UnavailableError: it may go through later.
            ClosedError: nothing will go through.

        """

    def batch_of(self, planned: int) -> int:
        """Most records a call of ``deliver`` in a run of so many; more, where the vendor has another way for many."""
        return self.batch_size

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """What would be sent, for a dry run; no secret is in it."""
        return [record.message() for record in records]

    def size(self, record: Record) -> int:
        """Bytes of a record in a batch, at least."""
        return len(json.dumps(record.fields)) + len(record.identifier)

    def operations(self, records: Sequence[Record]) -> int:
        """How many operations the vendor bills, or counts against a daily allowance, for these records."""
        return len(records)

    def close(self) -> None:
        """Lets go of connections."""
        return None


@cache
def destinations() -> dict[str, type[Destination]]:
    """Name of the file -> its class; a file whose name begins with an underscore is what several share."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name.startswith("_"):
            continue
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        kinds = [
            kind
            for kind in vars(loaded).values()
            if isinstance(kind, type) and issubclass(kind, Destination) and kind.__module__ == loaded.__name__
        ]
        if len(kinds) == 1:
            found[module.name] = kinds[0]
    return found
