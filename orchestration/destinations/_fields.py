"""Fields that records need at a destination: what is there, what is missing, and how a field is created."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

FieldType = Literal["boolean", "number", "string"]


@dataclass(frozen=True)
class WantedField:
    """A field that a sync writes, or finds records by.

    Attributes:
        name: of the field there.
        type: what the sync writes into it.
        label: what people see there.
        description: what it means.
        is_identifier: whether records are found by it, so that its values have to be unique.
        cleared: what stands in it once the entity no longer has a value.

    """

    name: str
    type: FieldType
    label: str
    description: str = ""
    is_identifier: bool = False
    cleared: Any = None


class FieldKeeper(ABC):
    """Looks fields of one kind of record up, and creates them.

    Every method raises what ``Destination.deliver`` raises.
    """

    @abstractmethod
    def missing_scopes(self, *, creates: bool) -> list[str]:
        """Rights that the key lacks: to deliver, and where ``creates`` also to create fields."""

    @abstractmethod
    def problems(self, wanted: Sequence[WantedField]) -> Mapping[str, str]:
        """Name of each field that is there -> why the sync cannot write it; empty where it can."""

    @abstractmethod
    def refusal(self, field: WantedField) -> str:
        """Why a missing field cannot be created; empty where it can."""

    @abstractmethod
    def create(self, field: WantedField) -> str:
        """Creates a field that is missing, and returns what is left to do by hand; empty for nothing."""
