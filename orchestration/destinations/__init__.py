"""Destinations: one file each in this folder, one class each, found by looking and never registered."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class Record:
    """All traits of one entity that a sync sends, as they should be at the destination.

    Attributes:
        sync: name of the sync.
        entity_type: user or account.
        entity_id: user_id or account_id.
        traits: trait -> typed value; null clears it.
        changed: traits that differ from what was acknowledged -> the acknowledged value.
        reasons: changed trait -> the published sentence.
        build_id: the snapshot's build.
        acknowledged_build_id: build of the last acknowledgement; empty before the first.
        as_of: the snapshot's clock, naive UTC.
        forgotten: the entity was forgotten in this house; the receiver is to delete it.

    """

    sync: str
    entity_type: str
    entity_id: str
    traits: dict[str, Any]
    changed: dict[str, Any]
    reasons: dict[str, str]
    build_id: str
    acknowledged_build_id: str
    as_of: datetime
    forgotten: bool = False

    @property
    def record_id(self) -> str:
        """The same for every attempt to deliver this change, so that a receiver can drop a repetition.

        What was acknowledged before is part of it, so that the same change made again later is a new one.
        """
        change = [self.sync, self.entity_type, self.entity_id, self.traits, self.acknowledged_build_id]
        text = json.dumps(change, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def message(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        said = {"forgotten": True} if self.forgotten else {}
        return said | {
            "entity_type": self.entity_type,
            "entity_id": self.entity_id,
            "traits": self.traits,
            "changed": {
                name: {"from": old, "to": self.traits[name], "reason": self.reasons.get(name)}
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
        destination_down: nobody answered, or the destination cannot take anything now; else this record was refused.

    """

    reason: str
    destination_down: bool = False


class Options(BaseModel):
    """What a sync may set for its destination; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Destination(ABC):
    """One kind of place that records are delivered to.

    Attributes:
        remote: whether deliveries leave this machine; then only production really sends.
        batch_size: records a call of ``deliver``; each batch is acknowledged on disk before the next.
        options_type: what the declaration may set.

    """

    remote: ClassVar[bool]
    batch_size: ClassVar[int]
    options_type: ClassVar[type[Options]]

    def __init__(self, options: dict[str, Any], outbox: Path) -> None:
        self.options: Any = self.options_type.model_validate(options)
        self.outbox = outbox

    @abstractmethod
    def deliver(self, records: Sequence[Record]) -> list[Failure | None]:
        """Delivers records in order and returns for each why it failed, or nothing when it was acknowledged."""

    def close(self) -> None:
        """Lets go of connections."""
        return None


@cache
def destinations() -> dict[str, type[Destination]]:
    """Name of the file -> its class."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        kinds = [
            kind
            for kind in vars(loaded).values()
            if isinstance(kind, type) and issubclass(kind, Destination) and kind.__module__ == loaded.__name__
        ]
        if len(kinds) == 1:
            found[module.name] = kinds[0]
    return found
