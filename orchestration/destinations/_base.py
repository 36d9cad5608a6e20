"""The base class of destinations, and what a destination says about itself."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from orchestration.declarations.syncs import Sync
from orchestration.destinations._fields import FieldKeeper
from orchestration.destinations._masking import masked
from orchestration.destinations._pace import Pace, Rate
from orchestration.destinations._record import Outcomes, Record
from orchestration.errors import UsageError

ANY_TYPE = frozenset({"boolean", "number", "string"})


class Options(BaseModel):
    """What a sync may set for its destination; an unknown key is an error.

    Attributes:
        tuning: names of options that may change while the records stay where they are.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tuning: ClassVar[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class ObjectKind:
    """A kind of record that a destination keeps.

    Attributes:
        entity: user or account.
        identifier_field: field of the identifier there, when a sync names none.
        types: what its fields can hold; the keys that a sync may cast to.
        field_pattern: regular expression that the whole name of a field has to match.
        deletes: whether a record can be removed; else it is cleared.

    """

    entity: Literal["user", "account"]
    identifier_field: str
    types: frozenset[str] = ANY_TYPE
    field_pattern: str = r"\w+"
    deletes: bool = False


class DestinationObject(NamedTuple):
    """A kind of record with its name at the destination."""

    name: str
    kind: ObjectKind


class Destination(ABC):
    """A kind of place that records are delivered to.

    Attributes:
        remote: whether deliveries leave this machine; then only production really sends.
        objects: name -> kind of record; the first of an entity is its default.
        batch_size: most records in a call of ``deliver``.
        batch_bytes: most bytes of a batch, as ``size`` measures its records; a larger record is refused.
        visitors: whether anonymous visitors are delivered, where a trait is of everyone.
        mixes: whether a batch may have removals and upserts; only where no record there is told by another.
        first: what the first run of a sync does that does not say so.
        workers: how many batches are sent at the same time; 1 where order between records matters.
        rates: limits on calls, over all workers; each HTTP call counts.
        options_type: what the declaration may set.

    """

    remote: ClassVar[bool]
    objects: ClassVar[Mapping[str, ObjectKind]]
    batch_size: ClassVar[int]
    batch_bytes: ClassVar[int] = 1 << 30
    visitors: ClassVar[bool] = True
    mixes: ClassVar[bool] = False
    first: ClassVar[Literal["everything", "from_now_on"]] = "everything"
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
    def object_of(cls, sync: Sync) -> DestinationObject:
        """The kind of record that a sync writes, by its name or by the sync's entity.

        Raises:
            UsageError: there is none.

        """
        for name, kind in cls.objects.items():
            if kind.entity == sync.entity and sync.object in ("", name):
                return DestinationObject(name, kind)
        names = ", ".join(f"{name} ({kind.entity}s)" for name, kind in cls.objects.items())
        missing = f"object {sync.object!r}" if sync.object else f"object for {sync.entity}s"
        raise UsageError(f"{sync.where}: {sync.destination} has no {missing}.", f"Set object to one of these: {names}.")

    @classmethod
    def is_remote(cls, sync: Sync) -> bool:
        """Whether deliveries leave this machine: ``remote``, unless the options of the sync decide it."""
        return cls.remote

    @property
    def object_name(self) -> str:
        """Name of the kind of record."""
        return self.object_of(self.sync).name

    @property
    def identifier_field(self) -> str:
        """The destination's field of the identifier."""
        return self.sync.identifier_field or self.object_of(self.sync).kind.identifier_field

    def secret(self, variable: str) -> str:
        """A secret from the environment; ``mask`` takes it out of every text from then on.

        Raises:
            UsageError: it is not set.

        """
        value = os.environ.get(variable)
        if not value:
            raise UsageError(
                f"{self.sync.where}: the environment variable {variable} is not set.",
                f"Set {variable}, then sync again: {self.sync.destination} needs it.",
            )
        self._secrets.add(value)
        return value

    def mask(self, text: str) -> str:
        """The text without any secret, on a single line of at most 300 characters."""
        return " ".join(masked(text, self._secrets).split())[:300]

    @abstractmethod
    def deliver(self, records: Sequence[Record]) -> Outcomes:
        """Delivers a batch; thread-safe where ``workers`` is above 1.

        Raises:
            RefusedError: the batch was refused as a whole.
            UnavailableError: it may go through later.
            ClosedError: nothing will go through.

        """

    def batch_of(self, planned: int) -> int:
        """Most records in a call of ``deliver``, in a run that delivers ``planned`` records.

        It is more than ``batch_size`` where the vendor has another interface for many records.
        """
        return self.batch_size

    def preview(self, records: Sequence[Record]) -> list[Any]:
        """What would be sent, for a dry run; no secret is in it."""
        return [record.message() for record in records]

    def size(self, record: Record) -> int:
        """Bytes that a record adds to a batch, at least."""
        return len(json.dumps(record.fields)) + len(record.identifier)

    def operations(self, records: Sequence[Record]) -> int:
        """How many operations the vendor bills, or counts against a daily allowance, for these records."""
        return len(records)

    def fields_there(self) -> FieldKeeper | None:
        """What looks fields up and creates them; nothing where a field comes to be with its first value."""
        return None

    def read(self, records: Sequence[Record]) -> dict[str, dict[str, Any]] | None:
        """Identifier -> fields as they are there now, of the records that are there.

        Nothing where records cannot be read with the key that writes them.

        Raises:
            RefusedError, UnavailableError, ClosedError: as ``deliver``.

        """
        return None

    def close(self) -> None:
        """Closes connections."""
        return None
