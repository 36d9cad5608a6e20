"""Verdicts: what the gate says of one trait in one build, bound to the content that it saw."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import duckdb

# Columns that tell how large the scores of a candidate were.
SCORE_SIZES = ("score_median", "score_p95")
VERDICT_TABLE = """
create schema if not exists state;
create table if not exists state.gate_verdicts (
    build_id varchar, trait varchar, as_of timestamp, definition_version bigint, verdict varchar, reason varchar,
    population bigint, eligible bigint, members bigint, content_hash varchar, checks varchar, decided_at timestamp,
    score_median double, score_p95 double
);
"""
# What a home made by an earlier version lacks.
VERDICT_TABLE += "".join(
    f"alter table state.gate_verdicts add column if not exists {name} double;\n" for name in SCORE_SIZES
)

Decision = Literal["passed", "failed", "not_enough_evidence"]


@dataclass(frozen=True)
class Check:
    """One expectation, as it went.

    Attributes:
        name: stable name within the trait.
        passed: whether it held.
        severity: critical withholds the trait; warning and info are shown; accepted would have withheld it.
        expected: what was asked for.
        observed: what was found.

    """

    name: str
    passed: bool
    severity: str
    expected: str
    observed: str


@dataclass(frozen=True)
class Verdict:
    """Grain: build x trait.

    Attributes:
        build_id: the build that was judged.
        trait: its name.
        as_of: the build's clock, naive UTC.
        definition_version: version in the trait's YAML entry.
        verdict: passed, failed, or not_enough_evidence (no population to take a threshold from).
        reason: a sentence; empty when it passed.
        population: rows of the candidate.
        eligible: rows that belong to the population that thresholds are taken from.
        members: rows whose value is true (for other types: not null).
        content_hash: of the rows that were judged.
        checks: every expectation.
        decided_at: wall clock, naive UTC.
        score_median: of the absolute scores that are not 0; null when there is none.
        score_p95: the same, larger than 95% of them.

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
    def accepted(self) -> bool:
        """Whether it passed because a person let it."""
        return self.verdict == "passed" and any(check.severity == "accepted" for check in self.checks)

    @property
    def contradicts_itself(self) -> bool:
        """Whether it says passed although a check that withholds did not."""
        broken = any(not check.passed and check.severity == "critical" for check in self.checks)
        return self.verdict == "passed" and broken

    @property
    def withheld(self) -> bool:
        """Whether a person has to look."""
        return self.verdict == "failed"


def with_check(verdict: Verdict, name: str, expected: str, found: str) -> Verdict:
    """The verdict with one more check that withholds, and fails when there is something found."""
    checks = (*verdict.checks, Check(name, not found, "critical", expected, found or "none"))
    if not found or verdict.verdict == "not_enough_evidence":
        return replace(verdict, checks=checks)
    return replace(verdict, verdict="failed", reason=" ".join(filter(None, (verdict.reason, found))), checks=checks)


def save_verdicts(connection: duckdb.DuckDBPyConnection, verdicts: Iterable[Verdict]) -> None:
    """Keeps the verdicts of the last build in which each trait was judged."""
    connection.execute(VERDICT_TABLE)
    connection.execute("begin")
    for verdict in verdicts:
        connection.execute("delete from state.gate_verdicts where trait = $1", [verdict.trait])
        connection.execute(
            "insert into state.gate_verdicts by name select unnest($row, recursive := true)",
            {"row": verdict_row(verdict)},
        )
    connection.execute("commit")


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """The verdict as a row of the table."""
    row = {name: getattr(verdict, name) for name in Verdict.__dataclass_fields__}
    return row | {"checks": json.dumps([vars(check) for check in verdict.checks])}


def load_verdicts(connection: duckdb.DuckDBPyConnection, build_id: str) -> dict[str, Verdict]:
    """Verdicts of exactly this build, by trait; one whose checks cannot be read is none."""
    return {name: one for name, one in last_verdicts(connection).items() if one.build_id == build_id}


def last_verdicts(connection: duckdb.DuckDBPyConnection) -> dict[str, Verdict]:
    """The last verdict of each trait, of whichever build; one whose checks cannot be read is none."""
    connection.execute(VERDICT_TABLE)
    cursor = connection.execute("select * from state.gate_verdicts where json_valid(checks)")
    names = [column[0] for column in cursor.description or ()]
    return {row[names.index("trait")]: _verdict(dict(zip(names, row, strict=True))) for row in cursor.fetchall()}


def _verdict(row: Mapping[str, Any]) -> Verdict:
    checks = tuple(Check(**check) for check in json.loads(row["checks"]))
    return Verdict(**{**row, "checks": checks})
