"""What is proposed for names of public tracking plans, against labels that were written before the rules.

``python -m tests.orchestration.mapping.test_plans`` writes plans/RESULTS.md.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from orchestration.mapping.facts import EventKey, Facts
from orchestration.mapping.proposal import Row, Unmapped, propose
from orchestration.mapping.rules import RULES

PLANS = Path(__file__).parent / "plans"
LEARNED = ("activepieces", "affine", "chatwoot", "firebase", "infisical")
HELD_OUT = ("artsy", "langfuse", "lightdash", "supabase")
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
    found = propose(events, facts, set(), {plan: len(wanted)})
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
            f"| {name} | {len(found)} | {share(found):.1%} | {share(strict):.1%} of {len(strict)}"
            f" | {guesses} | {failures} |"
        )
        misses += [
            f"| {plan} | {event.label.event_name} | {event.proposed} | {' or '.join(sorted(event.label.behaviours))} |"
            for event in found
            if not event.right
        ]
    return "\n".join([*lines, *misses]) + "\n"


@pytest.mark.parametrize("plan", [*LEARNED, *HELD_OUT])
def test_nine_names_of_ten_are_proposed_rightly(plan: str) -> None:
    found = judged(plan)
    assert [event.label for event in found] == labels(plan)
    wrong = [(event.label.event_name, event.proposed) for event in found if not event.right]
    assert share(found) >= LEAST, wrong


@pytest.mark.parametrize("plan", [*LEARNED, *HELD_OUT])
def test_no_failure_is_core_value_and_no_core_value_is_certain(plan: str) -> None:
    for event in judged(plan):
        if event.label.outcome == "failure":
            assert event.row is not None
            assert (event.row.behaviour, event.row.outcome) == ("error", "failure"), event.label.event_name
        if event.row is not None and event.row.behaviour == "core_value":
            assert event.row.guess, event.label.event_name


def test_the_plans_are_whole_and_their_labels_are_of_the_vocabulary() -> None:
    assert {path.stem for path in PLANS.glob("*.csv")} == {*LEARNED, *HELD_OUT}
    behaviours = {rule.behaviour for rule in RULES}
    for plan in (*LEARNED, *HELD_OUT):
        wanted = labels(plan)
        assert len(wanted) >= 27
        assert {name for label in wanted for name in label.behaviours} <= behaviours | {"none"}
        assert f"| {plan}.csv | github.com/" in (PLANS / "README.md").read_text()


def test_the_table_of_results_is_of_these_rules() -> None:
    assert (PLANS / "RESULTS.md").read_text() == results()


if __name__ == "__main__":
    (PLANS / "RESULTS.md").write_text(results())
