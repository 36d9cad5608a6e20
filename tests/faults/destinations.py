"""Faults of the line and of one row, met by every destination: what was acknowledged, is dead, is lost, came twice.

    python -m tests.faults.destinations                 # 1,000 records a run
    python -m tests.faults.destinations --records 230

Each destination delivers to its stand-in over loopback (Postgres: to a real server; a file: to a folder). A destination
that stays down is delivered to once more when it is back. Ends with 1 if a record is neither at the destination, as it
was mapped, nor a dead letter; or is acknowledged and not there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestration.destinations import FieldNote, Record, destinations
from orchestration.destinations._pace import Pace
from orchestration.home import Home, Settings, silent
from orchestration.sync import deliver as engine
from orchestration.sync.deliver import Delivery, deliver
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.validate import destination_of
from tests.faults.fixture import table
from tests.orchestration.destinations.standins import Fault, HttpStandIn, StandIn, standin

ENTITIES = 230
NAMES = sorted(destinations())
FAULTS: dict[str, Callable[[], list[Fault]]] = {
    "429 with Retry-After": lambda: [Fault("answer", 429, {"retry-after": "0.05"})],
    "429 without": lambda: [Fault("answer", 429)],
    "500": lambda: [Fault("answer", 500)],
    "502": lambda: [Fault("answer", 502)],
    "503": lambda: [Fault("answer", 503, {"retry-after": "0.05"})],
    "lost": lambda: [Fault("lost")],
    "slow": lambda: [Fault("slow")],
    "reset": lambda: [Fault("reset")],
    "malformed": lambda: [Fault("malformed")],
    "several at once": lambda: [Fault("lost"), Fault("answer", 500), Fault("answer", 429), Fault("reset")],
}


# Until the faults are cleared.
FOR_LONG = 10_000
DOWN, BAD_ROW, EXPIRED = "stays down, then is back", "one bad row", "token expired"


@dataclass(frozen=True)
class Result:
    """What came of a run; counts of records.

    Attributes:
        acknowledged: what the ledger calls sent.
        dead: dead letters.
        lost: neither at the destination as mapped nor dead, or called sent and not there.
        duplicated: taken once more than needed.

    """

    acknowledged: int
    dead: int
    lost: int
    duplicated: int


def identifier_of(target: StandIn, number: int) -> str:
    name = target.sync().identified_by
    return f"person{number}@example.com" if name == "email" else f"e{number:04d}"


def records_of(target: StandIn, version: int = 0, numbers: Sequence[int] = range(ENTITIES)) -> list[Record]:
    """Three fields of each type for every entity; another version has other values, and comes after the one before."""
    sync = target.sync()
    made = []
    for number in numbers:
        fields = fields_of(target, number, version)
        before = fields_of(target, number, version - 1) if version else dict.fromkeys(fields)
        made.append(
            Record(
                sync=sync.name,
                entity_type=sync.entity,
                entity_id=f"e{number:04d}",
                identifier=identifier_of(target, number),
                action="upsert",
                fields=fields,
                changed=before,
                reasons={},
                build_id=f"{version:06d}",
                as_of=datetime(2024, 6, 30),
                source=f"{number}-{version}",
                notes={name: note_of(name, value) for name, value in fields.items()},
            )
        )
    return made


def note_of(name: str, value: Any) -> FieldNote:
    kind = "boolean" if isinstance(value, bool) else "category" if isinstance(value, str) else "number"
    return FieldNote(name, name, kind, "growth", 1, since=datetime(2024, 6, 29))


def fields_of(target: StandIn, number: int, version: int) -> dict[str, Any]:
    _, kind = destinations()[target.name].object_of(target.sync())
    values: dict[str, Any] = {
        "stage": ["new", "active", 'says "hi", é'][(number + version) % 3],
    }
    if "boolean" in kind.types:
        values["at_risk"] = (number + version) % 2 == 0
    if "number" in kind.types:
        values["score"] = round((number * 7 + version) / 10, 1)
    return {target_name(target, name): value for name, value in values.items()}


def target_name(target: StandIn, name: str) -> str:
    """As the vendor wants names of custom fields."""
    return getattr(target, "field_name", lambda plain: plain)(name)


def expected(records: Sequence[Record], target: StandIn | None = None) -> dict[str, dict[str, Any]]:
    """Identifier -> what should be there; with a target, what can be seen of it there."""
    return {record.identifier: target.visible(record.fields) if target else record.fields for record in records}


def delivered(home: Home, target: StandIn, records: Sequence[Record]) -> Delivery:
    sync = target.sync()
    kind = destination_of(sync)
    with SyncLedger(home) as ledger, closing(kind(sync, home.outbox, Pace())) as destination:
        return deliver(destination, records, ledger, silent)


def acknowledged(home: Home, target: StandIn) -> set[str]:
    with SyncLedger(home) as ledger:
        return set(ledger.sent(target.sync().name))


def scenarios(target: StandIn) -> list[str]:
    """What can happen to it."""
    found = ["nothing"]
    if isinstance(target, HttpStandIn):
        found += [*FAULTS, DOWN]
    if "poison" not in target.spared:
        found.append(BAD_ROW)
    if type(target).expire_token is not StandIn.expire_token:
        found.append(EXPIRED)
    return [name for name in found if name not in target.spared]


def deliver_under_fault(target: StandIn, home: Home, name: str, records: Sequence[Record]) -> Result:
    """Delivers while something happens, and counts."""
    if name == BAD_ROW:
        target.poisoned = {records[len(records) // 2].identifier}
    if name == EXPIRED:
        delivered(home, target, records_of(target, 1, range(len(records))))
        target.expire_token()
    taken = len(target.writes) if isinstance(target, HttpStandIn) else 0
    target.faults.extend(FAULTS[name]() if name in FAULTS else [])
    target.faults.extend([Fault("answer", 503)] * FOR_LONG if name == DOWN else [])
    delivered(home, target, records)
    if name == DOWN:
        target.faults.clear()
        delivered(home, target, records)
    return counted(target, home, records, taken)


def counted(target: StandIn, home: Home, records: Sequence[Record], taken: int = 0) -> Result:
    sent, there = acknowledged(home, target), target.state()
    with SyncLedger(home) as ledger:
        dead = {row["entity_id"] for row in ledger.failure_rows()}
    lost = [
        record
        for record in records
        if there.get(record.identifier) != target.visible(record.fields)
        and (record.identifier in sent or record.entity_id not in dead)
    ]
    times = (
        Counter(record_id for call in target.writes[taken:] for record_id in call)
        if isinstance(target, HttpStandIn)
        else {}
    )
    return Result(len(sent), len(dead), len(lost), sum(count - 1 for count in times.values()))


def run_scenario(destination: str, name: str, count: int) -> Result:
    """Delivers so many records to a new stand-in while something happens."""
    target = standin(destination)
    count = min(count, target.most)
    with ExitStack() as stack:
        home, folder = (Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2))
        stack.enter_context(target.running(folder))
        stack.enter_context(quick_backoff())
        os.environ |= target.environment()
        return deliver_under_fault(
            target, Home(Settings(home=home, env="production")), name, records_of(target, 0, range(count))
        )


@contextmanager
def quick_backoff() -> Iterator[None]:
    """Waits a thousandth of the time before trying again."""
    before = engine.FIRST_BACKOFF_SECONDS
    engine.FIRST_BACKOFF_SECONDS = 0.001
    try:
        yield
    finally:
        engine.FIRST_BACKOFF_SECONDS = before


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Every destination under every fault.")
    parser.add_argument("--records", type=int, default=1000)
    count = parser.parse_args(arguments).records
    lines: list[tuple[object, ...]] = []
    for destination in NAMES:
        for scenario in scenarios(standin(destination)):
            started = time.perf_counter()
            result = run_scenario(destination, scenario, count)
            seconds = time.perf_counter() - started
            print(f"{destination}: {scenario}: {result} in {seconds:.1f} s", file=sys.stderr)
            lines.append((destination, scenario, min(count, standin(destination).most), *vars(result).values()))
    lost = sum(int(str(line[5])) for line in lines)
    print(table(("destination", "what happened", "records", "acknowledged", "dead", "lost", "duplicated"), lines))
    print(f"{len(lines)} runs, {lost} records lost")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
