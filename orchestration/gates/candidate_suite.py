"""Measures the candidates of a build and lets Great Expectations judge them: all traits in one table, by one suite."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from math import isfinite
from typing import Any

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.gates.candidate_bounds import MOST_CONTRADICTIONS, Circumstances, with_bounds
from orchestration.gates.candidate_checks import (
    CANDIDATE_CHECKS,
    CANDIDATES,
    CONTRADICTIONS,
    HIGH,
    LOW,
    CandidateCheck,
    checks_of,
    declared_suite,
    measure_suite,
)
from orchestration.gates.candidate_contradictions import JudgedRows, bases, count_contradictions, speaking
from orchestration.gates.candidate_features import FeatureRows, read_features, read_merged
from orchestration.gates.candidate_measures import compared_steps, measure_candidate, thresholds_of
from orchestration.gates.candidate_words import expected_words, observed_words
from orchestration.gates.engine import run_suite, run_suite_by_row
from orchestration.gates.interval import MOST_HISTORY
from orchestration.gates.recompute import Inputs
from orchestration.gates.verdicts import Check
from orchestration.published.history import PublishedPast, read_pasts
from orchestration.published.who_counts import counted
from orchestration.transform.build import Build
from orchestration.transform.clock import local_date
from orchestration.transform.dbt import Project

MEASURES = "candidate_measures"
_KEY = "measured"


@dataclass(frozen=True)
class MeasuredTrait:
    """What was measured of one trait.

    Attributes:
        row: its measures and their bounds, by column.
        steps: SQL of the rows that were compared.
        rows: check -> SQL condition of the rows that break it.
        contradictions: key of the measure -> what speaks.

    """

    row: dict[str, Any]
    steps: str
    rows: dict[str, str]
    contradictions: dict[str, JudgedRows] = field(default_factory=dict)


@dataclass(frozen=True)
class MeasuredTraits:
    """The measures of all traits, and what Great Expectations says of them.

    Attributes:
        found: trait -> its measures, or what was wrong when it was measured.
        contradictions: key -> measure and bound.
        broken: keys of the measures that broke their expectation.
        error: why an expectation could not be evaluated, so that nothing has held; empty when all could.

    """

    found: Mapping[str, MeasuredTrait | Exception]
    contradictions: Mapping[str, Mapping[str, Any]]
    broken: frozenset[str] = frozenset()
    error: str = ""

    def of(self, trait: Trait) -> MeasuredTrait:
        """The measures of a trait; raises what went wrong."""
        measured = self.found[trait.name]
        if isinstance(measured, Exception):
            raise measured
        return measured

    def checks(self, trait: Trait, passed: Collection[str]) -> tuple[Check, ...]:
        """The checks of the suite on one trait.

        Args:
            trait: which.
            passed: traits that were judged before it and passed in this build.

        """
        measured = self.of(trait)
        checks = []
        for check in checks_of(trait):
            keys, row = [key_of(trait.name, column) for column in check.columns], measured.row
            if check.name == CONTRADICTIONS:
                keys = speaking(trait, measured.contradictions, passed)
                row = {**max((self.contradictions[key] for key in keys), key=lambda found: found[CONTRADICTIONS])}
            is_whole = not self.error and not self.broken & {*keys}
            observed = self.error or observed_words(check, row)
            checks.append(Check(check.name, is_whole, "critical", expected_words(check, trait, row), observed))
        return tuple(checks)

    def contradicting_rows(self, trait: Trait, passed: Collection[str]) -> str:
        """SQL condition of the members of whom another trait says the contrary."""
        found = self.of(trait).contradictions
        return " or ".join(f"({found[key].rows})" for key in speaking(trait, found, passed))


def judge_declared(connection: duckdb.DuckDBPyConnection, trait: Trait) -> tuple[Check, ...]:
    """The trait's own expectations on those rows of its candidate that count."""
    if not trait.gate:
        return ()
    as_number = "cast(null as double)"
    if trait.type == "boolean":
        as_number = "case when value then 1 when not value then 0 end"
    elif trait.type == "number":
        as_number = "cast(value as double)"
    rows = f"select *, {as_number} as value_number from {trait.candidate} where {counted(trait, trait.id_column)}"
    return run_suite(connection, trait.name, rows, declared_suite(trait))


def measure_traits(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    build: Build,
    traits: Sequence[Trait],
    made: Collection[str],
) -> MeasuredTraits:
    """Measures candidates and judges the measures; a trait that cannot be measured holds no other.

    Args:
        connection: the warehouse.
        project: what is declared.
        build: the current one.
        traits: whose candidates.
        made: names of all models that were made in the build.

    """
    if not traits:
        return MeasuredTraits({}, {})
    pasts = read_pasts(connection, project.catalog, build, MOST_HISTORY)
    found: dict[str, MeasuredTrait | Exception] = {}
    contradictions: dict[str, dict[str, Any]] = {}
    read_merged(connection)
    behind = _hours_behind(connection, build)
    for entity in ("user", "account"):
        of_entity = [trait for trait in traits if trait.entity == entity]
        last_date = local_date(build.as_of - timedelta(microseconds=1), project.time_zone)
        if not of_entity:
            continue
        try:
            rows = read_features(connection, of_entity, build.as_of, last_date)
        except Exception as error:  # the other entity's traits are judged
            found |= {trait.name: error for trait in of_entity}
            continue
        for trait in of_entity:
            try:
                found[trait.name] = _measure(connection, project, build, trait, rows, pasts[trait.name], behind)
            except Exception as error:  # the other traits are judged
                found[trait.name] = error
    for trait in traits:
        if isinstance(measured := found[trait.name], MeasuredTrait) and trait.contradicts:
            try:
                contradictions |= _count_contradictions(connection, trait, measured, made)
            except Exception as error:
                found[trait.name] = error
    _write_measures(connection, found, contradictions)
    judged = run_suite_by_row(connection, CANDIDATES, f"select * from {MEASURES}", measure_suite(), _KEY)
    errors = [result.check.observed for result in judged if not result.check.passed and not result.broken]
    broken = frozenset(key for result in judged for key in result.broken)
    return MeasuredTraits(found, contradictions, broken, "; ".join(errors))


def _measure(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    build: Build,
    trait: Trait,
    rows: FeatureRows,
    past: PublishedPast,
    hours_behind: float,
) -> MeasuredTrait:
    inputs = Inputs(rows.rows, int(project.variables["minimum_population"]))
    row = measure_candidate(connection, trait, rows, inputs, build.as_of)
    circumstances = Circumstances(
        past,
        hours_allowed=float(project.variables["input_freshness_hours"]),
        hours_behind=hours_behind,
        thresholds=next(iter(thresholds_of(connection, trait)), {}),
        published_thresholds=_published_thresholds(connection, trait, build),
    )
    steps = compared_steps(trait, rows, inputs, build.as_of)
    conditions = {check.name: check.rows for check in checks_of(trait) if check.rows}
    return MeasuredTrait(with_bounds(trait, row, circumstances), steps, conditions)


def _published_thresholds(
    connection: duckdb.DuckDBPyConnection, trait: Trait, build: Build
) -> dict[str, tuple[float, ...]]:
    """Values of each threshold in the order in which they were published, the newest few of the declared definition."""
    if not trait.thresholds:
        return {}
    rows = connection.execute(
        """
        select threshold, list(value order by as_of, build_id) from (
            select * from traits.trait_thresholds
            where
                trait = $trait and definition_version = $version and value is not null
                and build_id != $build_id and as_of <= $as_of
            qualify row_number() over (partition by threshold order by as_of desc, build_id desc) <= $most
        )
        group by threshold
        """,
        {
            "trait": trait.name,
            "version": trait.version,
            "build_id": build.build_id,
            "as_of": build.as_of,
            "most": MOST_HISTORY,
        },
    ).fetchall()
    return {name: tuple(values) for name, values in rows}


def _hours_behind(connection: duckdb.DuckDBPyConnection, build: Build) -> float:
    """Hours from the newest event to as_of; 0 or less when there are later events."""
    row = connection.execute("select max(newest_event_at) from raw.loads").fetchone()
    return (build.as_of - row[0]).total_seconds() / 3600 if row and row[0] else 0.0


def _count_contradictions(
    connection: duckdb.DuckDBPyConnection, trait: Trait, measured: MeasuredTrait, made: Collection[str]
) -> dict[str, dict[str, Any]]:
    rows = {}
    high = int(MOST_CONTRADICTIONS * measured.row["members"])
    for basis in bases(trait, made):
        count = count_contradictions(connection, trait, basis, counted(trait, trait.id_column))
        measured.contradictions[basis.key(trait)] = basis
        rows[basis.key(trait)] = {CONTRADICTIONS: count, CONTRADICTIONS + HIGH: high}
    return rows


def _write_measures(
    connection: duckdb.DuckDBPyConnection,
    found: Mapping[str, MeasuredTrait | Exception],
    contradictions: Mapping[str, Mapping[str, Any]],
) -> None:
    """The table that the suite looks at: a row a measure of a trait, with its ends beside it."""
    rows = [
        (key_of(name, column), number, low, high)
        for name, measured in found.items()
        if isinstance(measured, MeasuredTrait)
        for check in CANDIDATE_CHECKS
        for column in check.columns
        for number, low, high in [_ends(check, column, measured.row)]
        if number is not None
    ]
    rows += [(key, row[CONTRADICTIONS], None, row[CONTRADICTIONS + HIGH]) for key, row in contradictions.items()]
    values = ", ".join(f"('{key}', {_sql(number)}, {_sql(low)}, {_sql(high)})" for key, number, low, high in rows)
    connection.execute(
        f"create or replace temp table {MEASURES} ({_KEY} varchar, measure double, low double, high double)"
    )
    if rows:
        connection.execute(f"insert into {MEASURES} values {values}")


def _ends(check: CandidateCheck, column: str, row: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    if check.is_counted:
        return row.get(column), None, 0
    return row.get(column), row.get(column + LOW), row.get(column + HIGH)


def _sql(number: float | None) -> str:
    return "null" if number is None else repr(float(number)) if isfinite(number) else f"'{number}'::double"


def key_of(trait: str, measure: str) -> str:
    """Key of a measure of a trait."""
    return f"{trait} {measure}"
