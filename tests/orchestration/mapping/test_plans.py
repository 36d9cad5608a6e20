"""What is proposed for names of public tracking plans, against labels that were written before the rules.

``python -m tests.orchestration.mapping.test_plans`` writes plans/RESULTS.md anew.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from orchestration.home import PROJECT_ROOT
from orchestration.mapping.facts import EventKey, Facts
from orchestration.mapping.suggest import Row, Unmapped, propose

PLANS = Path(__file__).parent / "plans"
LEARNED = ("activepieces", "chatwoot", "firebase", "infisical")
HELD_OUT = ("affine", "artsy", "supabase")
LEAST = 0.9


@dataclass(frozen=True)
class Label:
    """What may be proposed for a name; ``none`` among the behaviours allows no proposal."""

    event_name: str
    event_type: str
    behaviours: frozenset[str]
    outcome: str


@dataclass(frozen=True)
class Judged:
    """A label and the row that is proposed, if any."""

    label: Label
    row: Row | None

    @property
    def proposed(self) -> str:
        return self.row.behaviour if self.row else "none"

    @property
    def right(self) -> bool:
        failed = self.row is not None and self.row.outcome == "failure"
        return self.proposed in self.label.behaviours and failed == (self.label.outcome == "failure")


def labels(plan: str) -> list[Label]:
    with (PLANS / f"{plan}.csv").open(newline="") as file:
        return [
            Label(row["event_name"], row["event_type"], frozenset(row["behaviour"].split("|")), row["outcome"])
            for row in csv.DictReader(file)
        ]


def judged(plan: str) -> list[Judged]:
    """Every name of a plan as if it had come once: nothing but the name tells what it means."""
    moment = datetime(2025, 3, 1)
    wanted = labels(plan)
    events = [Unmapped(plan, label.event_name, label.event_type, 1, moment, moment) for label in wanted]
    facts = {EventKey(plan, label.event_name): Facts(Counter({label.event_type: 1})) for label in wanted}
    found = propose(events, facts, set())
    return [Judged(label, event.rows[-1] if event.rows else None) for label, event in zip(wanted, found, strict=True)]


def share(found: list[Judged]) -> float:
    return sum(event.right for event in found) / len(found)


def results() -> str:
    """The table and the misses by name, in Markdown."""
    lines = [
        "# How much of public tracking plans is proposed rightly",
        "Made by `python -m tests.orchestration.mapping.test_plans`; [README.md](README.md) says what counts as right.",
        "",
        "| plan | events | right | of those with a single label | marked as a guess | failures as core_value |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    misses = ["", "## Misses", "| plan | event | proposed | label |", "| --- | --- | --- | --- |"]
    for plan in (*LEARNED, *HELD_OUT):
        found = judged(plan)
        strict = [event for event in found if len(event.label.behaviours) == 1]
        guesses = sum(event.row is not None and event.row.guess for event in found)
        failures = sum(event.label.outcome == "failure" and event.proposed == "core_value" for event in found)
        name = f"{plan} (held out)" if plan in HELD_OUT else plan
        lines.append(
            f"| {name} | {len(found)} | {share(found):.1%} | {share(strict):.1%} of {len(strict)} | {guesses} | {failures} |"
        )
        misses += [
            f"| {plan} | {event.label.event_name} | {event.proposed} | {' or '.join(sorted(event.label.behaviours))} |"
            for event in found
            if not event.right
        ]
    return "\n".join([*lines, *misses]) + "\n"


if __name__ == "__main__":
    (PLANS / "RESULTS.md").write_text(results())
