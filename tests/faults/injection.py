"""One fault in one home: it is injected, the home is published, and readers are compared with an undisturbed home."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from orchestration.cli import app as cli
from orchestration.errors import TraithouseError
from orchestration.gates.candidates import audit
from orchestration.home import Home
from orchestration.landing.load import load
from orchestration.pipeline.refresh import write_and_audit
from orchestration.publishing.publish import PublishReport, publish
from orchestration.simulator.parameters import SOURCE
from orchestration.transform.dbt import Project
from tests.builds import change_candidates
from tests.faults.fixture import (
    NEXT_DAY,
    Fixture,
    Rows,
    contradictions,
    differing,
    served_rows,
)


@dataclass
class Injection:
    """A home into which a fault is injected, and what its user reads."""

    fixture: Fixture
    home: Home
    project: Project
    folder: Path
    messages: list[str] = field(default_factory=list)

    def sql(self, *statements: str) -> None:
        """Changes the warehouse as a person with DuckDB would."""
        with self.home.connect() as connection:
            for statement in statements:
                connection.execute(statement)

    def made(self, *statements: str) -> None:
        """Changes candidates as if their models had made them so in this build."""
        change_candidates(self.project, *statements)

    def load(self, path: Path) -> None:
        """Loads a file; keeps what the load says, also when it refuses."""
        try:
            report = load(self.home, [path], source=SOURCE, notify=self.messages.append)
        except TraithouseError as error:
            self.refused(error)
        else:
            self.messages.append(json.dumps(report.as_dict()))

    def refused(self, error: BaseException) -> None:
        """Keeps what an error tells its reader."""
        self.messages.append(f"{type(error).__name__}: {error} {getattr(error, 'hint', '')}")

    def day(self) -> list[dict[str, Any]]:
        """The events of the next day."""
        return [json.loads(line) for line in self.fixture.next_day.read_text().splitlines()]

    def file(self, lines: Iterable[object], name: str = "day.ndjson") -> Path:
        """A file of lines; what is not text becomes JSON."""
        path = self.folder / name
        path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
        return path

    def refresh(self) -> None:
        """Writes and judges the next day."""
        write_and_audit(self.project, as_of=NEXT_DAY, notify=self.messages.append)

    def publish(self) -> PublishReport:
        """Publishes, and keeps what the report says."""
        report = publish(self.project, notify=self.messages.append)
        self.messages += [f"{trait.trait}: {trait.verdict}. {trait.reason}" for trait in report.traits]
        self.messages += report.failed_models
        return report

    def command(self, *arguments: str) -> int:
        """A call of the command line and its exit code."""
        result = CliRunner().invoke(cli.main, [*arguments, "--home", str(self.home.root)])
        self.messages.append(result.output)
        return result.exit_code

    @property
    def current(self) -> Path:
        """The link that readers follow."""
        return self.home.serving / "current"


@dataclass(frozen=True)
class Fault:
    """One row of the matrix.

    Attributes:
        name: what is broken.
        stage: where.
        inject: breaks it; the home is ``written``, or with ``rebuilt`` ``published``.
        judged: traits that are judged again afterwards, as if the gate had only now come to them.
        withheld: traits that may not go out.
        message: pattern that a message to the user has to match.
        rebuilt: the next day is written and judged afterwards.
        repair: with it, the first publish must not change what readers find; after it, all goes out.
        publish: how it is published at first.
        retired: traits whose values go.
        other_day: the events themselves are others; of a trait that goes out, readers find what this build made.

    """

    name: str
    stage: str
    inject: Callable[[Injection], object]
    judged: tuple[str, ...] = ()
    withheld: frozenset[str] = frozenset()
    message: str = ""
    rebuilt: bool = False
    repair: Callable[[Injection], object] | None = None
    publish: Callable[[Injection], object] = Injection.publish
    retired: frozenset[str] = frozenset()
    other_day: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a fault.

    Attributes:
        withheld: traits whose rows are not those of an undisturbed home.
        went_out: the others.
        message: the first line that matches; empty when nothing did.
        wrong: rows that are neither the last good ones of a withheld trait nor the undisturbed ones of another.
        contradictions: what the snapshot says in two ways.

    """

    withheld: frozenset[str]
    went_out: frozenset[str]
    message: str
    wrong: dict[str, int]
    contradictions: tuple[str, ...]


def run(fault: Fault, fixture: Fixture, folder: Path) -> Outcome:
    """Lets a fault happen to a home of its own."""
    home = fixture.copy(fixture.published if fault.rebuilt else fixture.written, folder / "home")
    injection = Injection(fixture, home, fixture.project_of(home), folder)
    fault.inject(injection)
    if fault.rebuilt:
        injection.refresh()
    if fault.judged:
        with home.lock("fault injection"):
            audit(injection.project, traits=fault.judged)
    if fault.repair:
        try:
            fault.publish(injection)
        except (TraithouseError, OSError) as error:
            injection.refused(error)
        untouched = served_rows(home) if injection.current.exists() else fixture.before
        assert differing(untouched, fixture.before) == {}, "a publish that did not end changed what readers find"
        fault.repair(injection)
        injection.publish()
    else:
        fault.publish(injection)
    found = served_rows(home)
    kept = {name for name in fixture.passed if found.get(name) == fixture.before[name] != fixture.undisturbed[name]}
    if fault.other_day:
        found = {name: _as_undisturbed(injection, name, rows) for name, rows in found.items()}
    withheld = fixture.passed if "every" in fault.withheld else fault.withheld
    expected: Rows = {
        name: fixture.before[name] if name in withheld and not fault.other_day else rows
        for name, rows in fixture.undisturbed.items()
        if name not in fault.retired
    }
    if not fault.other_day:
        kept = {name for name in fixture.passed if found.get(name) != fixture.undisturbed[name]} - fault.retired
    lines = [line for text in injection.messages for line in text.splitlines()]
    matching = next((line for line in lines if fault.message and re.search(fault.message, line)), "")
    return Outcome(
        withheld=frozenset(kept),
        went_out=fixture.passed - kept,
        message=matching,
        wrong=differing(found, expected),
        contradictions=tuple(contradictions(home)),
    )


def _as_undisturbed(injection: Injection, name: str, rows: list[Any]) -> list[Any]:
    """The undisturbed rows in place of those of another day, if they are what its candidate holds or the last good."""
    if name not in injection.fixture.passed or rows == injection.fixture.before[name]:
        return injection.fixture.undisturbed.get(name, [])
    trait = injection.project.catalog.trait(name)
    with injection.home.connect() as connection:
        made = connection.execute(
            f"select {trait.id_column}, cast(value as varchar), score, evidence from {trait.candidate}"
        ).fetchall()
    published = {(row[1], row[3], row[4], row[5]) for row in rows}
    return injection.fixture.undisturbed[name] if published == set(made) else rows


def wrongs(fault: Fault, outcome: Outcome, fixture: Fixture) -> list[str]:
    """What is not as the matrix says; empty when all is."""
    due = fixture.passed if "every" in fault.withheld else fault.withheld & fixture.passed
    found = []
    if missed := due - outcome.withheld:
        found.append(f"went out: {', '.join(sorted(missed))}")
    if held := outcome.withheld - due:
        found.append(f"withheld though good: {', '.join(sorted(held))}")
    if outcome.wrong:
        found.append(f"wrong rows: {outcome.wrong}")
    if fault.message and not outcome.message:
        found.append(f"no message says {fault.message!r}")
    return found + list(outcome.contradictions)
