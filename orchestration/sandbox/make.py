"""Writes a sandbox: events, the truth beside them, and what they are."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from orchestration.project import Notify, silent, write_atomically
from orchestration.sandbox.companies import Company
from orchestration.sandbox.parameters import SOURCE, Parameters
from orchestration.sandbox.truth import STATES, Truth

EVENTS, TRUTH, README = "events.ndjson.gz", "truth.csv", "README.md"


@dataclass(frozen=True)
class SandboxReport:
    """What was written.

    Attributes:
        folder: where.
        events: rows of the events file, repeated ones included.
        users: people who signed up.
        accounts: companies.
        states: ``entity_type.state`` to how many intervals the truth has of it.

    """

    folder: Path
    events: int
    users: int
    accounts: int
    states: dict[str, int]

    @property
    def events_file(self) -> Path:
        """What ``traithouse load --source sandbox`` reads."""
        return self.folder / EVENTS

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "synthetic": True,
            "folder": str(self.folder),
            "events": self.events,
            "users": self.users,
            "accounts": self.accounts,
            "states": self.states,
        }


def make_sandbox(parameters: Parameters, folder: Path, *, notify: Notify = silent) -> SandboxReport:
    """Simulate, and write ``events.ndjson.gz``, ``truth.csv`` and ``README.md``; same parameters, same bytes."""
    truth = Truth()
    rows = []
    users = 0
    for number in range(parameters.accounts):
        company = Company(number, parameters, truth)
        company.live()
        rows += company.stream.rows
        users += len(company.people)
        if number % 50 == 49:
            notify(f"simulated {number + 1} of {parameters.accounts} synthetic accounts")
    rows.sort(key=lambda row: (row[0], row[1]["event_id"]))
    folder.mkdir(parents=True, exist_ok=True)
    text = io.BytesIO()
    # A fixed time and level: the header of a gzip file would differ otherwise.
    with gzip.GzipFile(fileobj=text, mode="wb", mtime=0, compresslevel=6, filename="") as packed:
        for _, row in rows:
            packed.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
    (folder / EVENTS).write_bytes(text.getvalue())
    write_atomically(folder / TRUTH, _truth_text(parameters, truth))
    write_atomically(folder / README, _readme(parameters))
    states = Counter(f"{one.entity_type}.{one.state}" for one in truth.intervals)
    return SandboxReport(folder, len(rows), users, parameters.accounts, dict(sorted(states.items())))


def _truth_text(parameters: Parameters, truth: Truth) -> str:
    def instant(day: float | None) -> str:
        moment = "" if day is None else parameters.start + timedelta(seconds=round(day * 86_400))
        return moment if isinstance(moment, str) else moment.replace(tzinfo=None).isoformat(sep=" ")

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["entity_type", "entity_id", "state", "started_at", "ended_at"])
    for one in truth.sorted():
        writer.writerow([one.entity_type, one.entity_id, one.state, instant(one.started), instant(one.ended)])
    return out.getvalue()


def _readme(parameters: Parameters) -> str:
    states = "\n".join(
        f"- {entity}.{state}: {meaning}" for entity, described in STATES.items() for state, meaning in described.items()
    )
    options = " ".join(f"--{name} {value}" for name, value in parameters.model_dump(mode="json").items())
    return f"""# Synthetic data
Nobody in here exists. Made by `traithouse sandbox {options}`; the same call gives the same bytes.

- {EVENTS}: raw events, `traithouse load {EVENTS} --source {SOURCE}`
- {TRUTH}: the hidden states that the events came from (instants in UTC, ended_at empty while it lasts)

## Hidden states
{states}
"""
