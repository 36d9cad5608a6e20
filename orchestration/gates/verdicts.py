"""Verdicts: what the candidate audit says of one trait in one build, bound to the content that it saw."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import duckdb

from orchestration.published.rows import fetch_rows, insert_row
from orchestration.published.tables import SCORE_SIZES

VERDICT_TABLE = """
create schema if not exists state;
create table if not exists state.gate_verdicts (
    build_id varchar, trait varchar, as_of timestamp, definition_version bigint, verdict varchar, reason varchar,
    population bigint, eligible bigint, members bigint, content_hash varchar, checks varchar, decided_at timestamp,
    score_median double, score_p95 double
);
"""
# Columns that a home of an earlier version lacks.
VERDICT_TABLE += "".join(
    f"alter table state.gate_verdicts add column if not exists {name} double;\n" for name in SCORE_SIZES
)

Decision = Literal["passed", "failed", "not_enough_evidence"]
# Severity of a check that failed and was waived.
WAIVED = "waived"
# The same in verdicts that were written before home version 3.
_FORMERLY_WAIVED = "accepted"


@dataclass(frozen=True)
class Check:
    """The result of one expectation.

    Attributes:
        name: stable name within the trait.
        passed: whether it held.
        severity: critical withholds the trait; warning and info are only shown; waived failed, was critical, and was
            let through by a person.
        expected: in words.
        observed: in words.

    """

    name: str
    passed: bool
    severity: str
    expected: str
    observed: str


@dataclass(frozen=True)
class Verdict:
    """The decision on one candidate. Grain: build x trait.

    Attributes:
        build_id: the build that was judged.
        trait: name of the trait.
        as_of: the build's clock, naive UTC.
        definition_version: version in the trait's YAML entry.
        verdict: passed, failed, or not_enough_evidence (no population to take a threshold from).
        reason: a sentence; empty when it passed.
        population: rows of the candidate.
        eligible: rows that belong to the population that thresholds are taken from.
        members: rows whose value is true (for other types: not null).
        content_hash: of the candidate's rows that were judged.
        decided_at: wall clock, naive UTC.
        checks: the result of every expectation.
        score_median: median of the absolute scores that are not 0; null when there is none.
        score_p95: 95th percentile of the same.

    """

    build_id: str
    trait: str
    as_of: datetime
    definition_version: int
    verdict: Decision
    reason: str
    population: int
    eligible: int
    members: int
    content_hash: str
    decided_at: datetime
    checks: tuple[Check, ...] = field(default=())
    score_median: float | None = None
    score_p95: float | None = None

    @property
    def prevalence(self) -> float:
        """Share of the population that has the trait."""
        return self.members / self.population if self.population else 0.0

    @property
    def waived(self) -> bool:
        """Whether it passed because a person waived what had failed."""
        return self.verdict == "passed" and any(check.severity == WAIVED for check in self.checks)

    @property
    def contradicts_itself(self) -> bool:
        """Whether it says passed although a critical check failed."""
        return self.verdict == "passed" and bool(self.broken)

    @property
    def broken(self) -> tuple[Check, ...]:
        """Critical checks that failed."""
        return broken_checks(self.checks)

    @property
    def withheld(self) -> bool:
        """Whether the trait keeps its last good values until a person has looked."""
        return self.verdict == "failed"


def broken_checks(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Critical checks that failed: those that withhold."""
    return tuple(check for check in checks if not check.passed and check.severity == "critical")


def with_check(verdict: Verdict, name: str, expected: str, found: str) -> Verdict:
    """The verdict with one more critical check, which fails when something was found."""
    checks = (*verdict.checks, Check(name, not found, "critical", expected, found or "none"))
    if not found or verdict.verdict == "not_enough_evidence":
        return replace(verdict, checks=checks)
    return replace(verdict, verdict="failed", reason=" ".join(filter(None, (verdict.reason, found))), checks=checks)


def save_verdicts(connection: duckdb.DuckDBPyConnection, verdicts: Iterable[Verdict]) -> None:
    """Keeps for each trait the verdict of the last build in which it was judged."""
    connection.execute(VERDICT_TABLE)
    connection.execute("begin")
    for verdict in verdicts:
        connection.execute("delete from state.gate_verdicts where trait = $1", [verdict.trait])
        insert_row(connection, "state.gate_verdicts", verdict_row(verdict))
    connection.execute("commit")


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """The verdict as a row of ``state.gate_verdicts``, by column."""
    row = {name: getattr(verdict, name) for name in Verdict.__dataclass_fields__}
    return row | {"checks": json.dumps([vars(check) for check in verdict.checks])}


def load_verdicts(connection: duckdb.DuckDBPyConnection, build_id: str) -> dict[str, Verdict]:
    """Verdicts of exactly this build, by trait; a verdict whose checks cannot be read is left out."""
    return {name: verdict for name, verdict in last_verdicts(connection).items() if verdict.build_id == build_id}


def last_verdicts(connection: duckdb.DuckDBPyConnection) -> dict[str, Verdict]:
    """The last verdict of each trait, of any build; a verdict whose checks cannot be read is left out."""
    connection.execute(VERDICT_TABLE)
    verdicts = map(_verdict, fetch_rows(connection, "select * from state.gate_verdicts where json_valid(checks)"))
    return {verdict.trait: verdict for verdict in verdicts}


def _verdict(row: Mapping[str, Any]) -> Verdict:
    checks = (Check(**check) for check in json.loads(row["checks"]))
    checks = (replace(check, severity=WAIVED) if check.severity == _FORMERLY_WAIVED else check for check in checks)
    return Verdict(**{**row, "checks": tuple(checks)})
