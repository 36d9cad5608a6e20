"""Writes a simulation: events, hidden truth, and a README about them. The same content gives the same bytes."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from orchestration.simulator.parameters import SOURCE, Parameters
from orchestration.simulator.stream import BROWSERS, Event
from orchestration.simulator.truth import ACCOUNT_STATES, LABELS, USER_STATES, StateInterval

EVENTS, TRUTH, ABOUT = "events.ndjson.gz", "truth.csv", "README.md"


def record(parameters: Parameters, event_id: str, event: Event, received: float) -> str:
    """An event in the raw event contract, as one line of JSON."""
    row: dict[str, Any] = {
        "event_id": event_id,
        "event_type": event.kind,
        "event_name": event.name,
        "occurred_at": parameters.stamp(event.time),
        "received_at": parameters.stamp(received),
        "user_id": event.user,
        "anonymous_id": event.device,
        "account_id": event.account,
        "session_id": event.session,
        "properties": event.properties,
        "context": {"synthetic": True, "platform": "web", "userAgent": BROWSERS[event.browser]},
    }
    return json.dumps({key: value for key, value in row.items() if value is not None}, separators=(",", ":"))


def write_events(path: Path, lines: Iterable[str]) -> None:
    """Gzip without a name and a time, so that only the content counts."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
    ):
        text.writelines(f"{line}\n" for line in lines)


def write_truth(path: Path, parameters: Parameters, intervals: Sequence[StateInterval]) -> None:
    """The hidden truth, by entity and beginning."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["entity_type", "entity_id", "state", "started_at", "ended_at"])
        for held in sorted(intervals, key=lambda held: (held.entity_type, held.entity_id, held.started, held.state)):
            ended = "" if held.ended is None else parameters.stamp(held.ended)
            writer.writerow([held.entity_type, held.entity_id, held.state, parameters.stamp(held.started), ended])


def write_about(path: Path, parameters: Parameters, counts: dict[str, int]) -> None:
    """A README that says what the folder holds, and how it was made."""
    path.write_text("\n".join(_about(parameters, counts)) + "\n", encoding="utf-8")


def _about(parameters: Parameters, counts: dict[str, int]) -> Iterator[str]:
    yield """# Synthetic events with known truth

Everything here is **synthetic**: invented companies, people and events, made by `traithouse simulate`. No real person
did any of it. Results on it say how well behaviour is read in this invented world, and nothing else.

| parameter | value |
| --- | --- |"""
    for name in ("accounts", "days", "seed", "difficulty", "end"):
        yield f"| {name} | {getattr(parameters, name)} |"
    yield f"""
Events fall from {parameters.start:%Y-%m-%d} to {parameters.end}, 00:00 UTC, excluded. The same parameters give the
same bytes.

- `{EVENTS}`: {counts["events"]:,} events of {counts["users"]:,} users in {counts["accounts"]:,} accounts, in the
  order in which they were received; each says `"synthetic": true` in its context. Some came late, some twice, and
  those that were late at the end were received after it.
- `{TRUTH}`: who was in which state, from when to when (UTC; without an end it lasts). Not for the loader.

      traithouse load {EVENTS} --source {SOURCE}

A state may have begun before the first event. Of `enthusiast`, `regular`, `casual`, `disengaging` and `gone` a user
is in one at a time, from the first visit on, and in none after leaving the company. A trial that runs out makes its
members `gone`; after a subscription that ended some look in for a few days more. Engagement states are the person's:
a consultant has one, whichever account the visit is for."""
    for title, states in (("Users", USER_STATES), ("Accounts", ACCOUNT_STATES), ("Labels", LABELS)):
        yield ""
        yield f"## {title}"
        yield ""
        yield "| state | meaning |"
        yield "| --- | --- |"
        for state, meaning in states.items():
            yield f"| `{state}` | {meaning} |"
