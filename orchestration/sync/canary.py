"""A canary: a few records are delivered first and read back, before a sync sends everything."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestration.destinations import ClosedError, Destination, Record, RefusedError, UnavailableError
from orchestration.sync.plan import Plan

MOST = 50
# A vendor may show what was written only after a moment; in seconds before each attempt to read.
WAITS = (0.0, 1.0, 4.0)


@dataclass(frozen=True)
class CanaryRecord:
    """What came of one record.

    Attributes:
        entity_id: user_id or account_id.
        identifier: by which the destination knows it.
        delivered: whether it was acknowledged.
        there: what was read back: ``as sent``, what differs, or why nobody knows.
        fields: what was sent.

    """

    entity_id: str
    identifier: str
    delivered: bool
    there: str
    fields: dict[str, Any]

    @property
    def is_good(self) -> bool:
        """Whether it was acknowledged and, where it can be read, is there as it was sent."""
        return self.delivered and self.there in (AS_SENT, UNREADABLE)


AS_SENT = "as sent"
UNREADABLE = "cannot be read back with this destination: look at it there"


def canary_plan(planned: Plan, count: int) -> Plan:
    """The plan with the first records that write something, and with no record that another has to come before."""
    removed = {record.entity_id for record in planned.records if record.action != "upsert"}
    chosen = [record for record in planned.records if record.action == "upsert" and record.entity_id not in removed]
    return replace(planned, records=chosen[:count], changes=min(count, len(chosen)))


def read_back(
    destination: Destination,
    records: Sequence[Record],
    is_acknowledged: Callable[[Record], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[CanaryRecord, ...]:
    """What the destination has of each record."""
    acknowledged = [record for record in records if is_acknowledged(record)]
    said = _compared(destination, acknowledged, sleep) if acknowledged else {}
    return tuple(
        CanaryRecord(
            record.entity_id,
            record.identifier,
            record.identifier in said,
            said.get(record.identifier, "not delivered"),
            record.fields,
        )
        for record in records
    )


def _compared(destination: Destination, records: Sequence[Record], sleep: Callable[[float], None]) -> dict[str, str]:
    """Identifier -> what was read back."""
    said: dict[str, str] = {}
    for seconds in WAITS:
        sleep(seconds)
        try:
            there = destination.read(records)
        except (ClosedError, RefusedError, UnavailableError) as error:
            said = dict.fromkeys((record.identifier for record in records), f"cannot be read: {error}")
            continue
        if there is None:
            return dict.fromkeys((record.identifier for record in records), UNREADABLE)
        said = {record.identifier: _difference(record, there.get(record.identifier)) for record in records}
        if set(said.values()) == {AS_SENT}:
            break
    return said


def _difference(record: Record, there: Mapping[str, Any] | None) -> str:
    if there is None:
        return "not found"
    differing = [
        f"{name} is {there.get(name)!r} there, {value!r} was sent"
        for name, value in record.fields.items()
        if not is_same(value, there.get(name))
    ]
    return "; ".join(differing) or AS_SENT


def is_same(sent: Any, there: Any) -> bool:
    """Whether a value that was read says what was sent, also where the vendor keeps only texts."""
    if sent is None or sent == "":
        return there is None or there == ""
    if isinstance(sent, bool):
        return str(there).lower() == str(sent).lower()
    if isinstance(sent, int | float):
        try:
            return not isinstance(there, bool) and float(there) == float(sent)
        except (TypeError, ValueError):
            return False
    return str(there) == str(sent)
