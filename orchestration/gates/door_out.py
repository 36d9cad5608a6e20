"""The door out: which candidates may be published.

Every trait gets the same default suite, and the extra expectations of its YAML entry. One trait's failure is that
trait's alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import duckdb

from orchestration.catalog import NOT_ENOUGH_EVIDENCE, Trait
from orchestration.gates.door_in import INPUTS, judge_sources, with_inputs
from orchestration.gates.engine import Expected, run_suite
from orchestration.project import House, Notify, silent, utc_now
from orchestration.publishing.needs import unmet_need
from orchestration.publishing.reasons import quoted_value, sentence
from orchestration.publishing.verdicts import Check, Decision, Verdict, save_verdicts
from orchestration.warehouse.build import Build, current_build
from orchestration.warehouse.content import content_hash
from orchestration.warehouse.dbt import DbtProject

SMALLEST_SHARE_OF_LAST_POPULATION = 0.5


def check_names(trait: Trait) -> list[str]:
    """Names of all checks of a trait, known before anything runs."""
    suite = suite_of(trait, as_of=datetime(1970, 1, 1), last_population=0)
    return ["built", "needs", *(expected.name for expected in suite), INPUTS]


def suite_of(trait: Trait, *, as_of: datetime, last_population: int) -> list[Expected]:
    """The default suite and the trait's own expectations.

    Args:
        trait: what is judged.
        as_of: clock that every row must carry.
        last_population: rows at the last publish; 0 when there was none.

    """
    id_column = trait.id_column
    least = max(1, round(SMALLEST_SHARE_OF_LAST_POPULATION * last_population))
    suite = [
        Expected(
            "grain",
            "expect_column_values_to_be_unique",
            {"column": id_column},
            expected=f"one row a {trait.entity}",
        ),
        Expected(
            "entity",
            "expect_column_values_to_not_be_null",
            {"column": id_column},
            expected=f"every {id_column} known",
        ),
        Expected(
            "value",
            "expect_column_values_to_not_be_null",
            {"column": "value"},
            expected="every value known",
        ),
        Expected(
            "value_type",
            "unexpected_rows_expectation",
            {"unexpected_rows_query": f"select * from {{batch}} where ({_value_is_typed(trait)}) is not true"},
            expected=f"every value a {trait.type}",
        ),
        Expected(
            "score",
            "unexpected_rows_expectation",
            {"unexpected_rows_query": "select * from {batch} where isnan(score) or isinf(score)"},
            expected="every score null or finite",
        ),
        Expected(
            "evidence",
            "unexpected_rows_expectation",
            {"unexpected_rows_query": f"select * from {{batch}} where ({_evidence_is_whole(trait)}) is not true"},
            expected="JSON that names a declared rule and holds what its sentence quotes",
        ),
        Expected(
            "as_of",
            "unexpected_rows_expectation",
            {"unexpected_rows_query": f"select * from {{batch}} where as_of is distinct from timestamp '{as_of}'"},
            expected=f"every as_of {as_of}",
        ),
        Expected(
            "population",
            "expect_table_row_count_to_be_between",
            {"min_value": least},
            expected=f"at least {least} rows, half of what was published last",
        ),
    ]
    for extra in trait.gate:
        name = extra.type.removeprefix("expect_")
        taken = sum(one.name.startswith(name) for one in suite)
        suite.append(
            Expected(
                f"{name}_{taken + 1}" if taken else name,
                extra.type,
                extra.kwargs,
                severity=extra.severity,
                expected=extra.description,
            )
        )
    return suite


def _value_is_typed(trait: Trait) -> str:
    text = "cast(value as varchar)"
    return {
        "boolean": f"value is null or {text} in ('true', 'false')",
        "number": f"value is null or coalesce(isfinite(try_cast({text} as double)), false)",
        "category": f"value is null or {text} != ''",
    }[trait.type]


def _evidence_is_whole(trait: Trait) -> str:
    """SQL: the evidence is readable, and the sentence of its rule can be written."""
    cases = []
    for rule in trait.sentences:
        known = [f"{quoted_value(name)} is not null" for name in trait.placeholders(rule)]
        cases.append(f"when '{rule}' then {' and '.join(known) or 'true'}")
    return f"""case when json_valid(evidence) and json_type(evidence) = 'OBJECT' then
        case json_extract_string(evidence, '$.rule') {" ".join(cases)} else false end end"""


def audit(
    house: House,
    project: DbtProject,
    *,
    traits: Sequence[str] | None = None,
    notify: Notify = silent,
) -> list[Verdict]:
    """Judges the candidates that the current build made, and keeps the verdicts.

    Args:
        house: where; hold its lock.
        project: what is declared.
        traits: names; all when not given.
        notify: progress.

    """
    with house.connect() as connection:
        build = current_build(connection)
        if build is None:
            return []
        results = {
            name: made
            for name, *made in connection.execute(
                "select name, status, message, content_hash from state.node_results where build_id = $1",
                [build.build_id],
            ).fetchall()
        }
        sources = judge_sources(connection, project, build, notify=notify)
        verdicts = []
        for trait in project.catalog.traits:
            if trait.name in results and (traits is None or trait.name in traits):
                try:
                    verdicts.append(_judge(connection, trait, build, *results[trait.name]))
                except Exception as error:  # whatever breaks one gate must not hold the other traits
                    reason = f"Its gate could not be evaluated: {' '.join(str(error).split())[:300]}"
                    verdicts.append(_verdict(trait, build, "failed", reason))
                verdicts[-1] = with_inputs(verdicts[-1], sources)
                notify(f"gate {trait.name}: {verdicts[-1].verdict}")
        save_verdicts(connection, verdicts)
    return verdicts


def _judge(
    connection: duckdb.DuckDBPyConnection, trait: Trait, build: Build, status: str, message: str, made: str
) -> Verdict:
    built = Check("built", status == "success", "critical", "the model runs in this build", message)
    if not built.passed:
        why = "an upstream model failed" if status == "skipped" else f"the model failed: {message}"
        return _verdict(trait, build, "failed", f"It was not computed, because {why}.", checks=(built,))
    if content_hash(connection, trait.candidate, trait.id_column) != made:
        reason = "Its rows are not those that its model made in this build."
        return _verdict(trait, build, "failed", reason, checks=(replace(built, passed=False, observed=reason),))
    last_population = _last_population(connection, trait)
    reason = unmet_need(connection, trait)
    needs = Check(
        "needs",
        not reason,
        "critical" if last_population else "warning",
        f"events for {', '.join(trait.needs) or 'nothing'}",
        reason or "there are",
    )
    if reason:
        decision: Decision = "failed" if last_population else "not_enough_evidence"
        return _verdict(trait, build, decision, reason, checks=(built, needs))
    if not last_population and connection.execute(f"select 1 from {trait.candidate} limit 1").fetchone() is None:
        reason = f"No {trait.entity} has been seen yet."
        return _verdict(trait, build, "not_enough_evidence", reason, checks=(built, needs))
    query = f"select *, {_as_number(trait)} as value_number from {trait.candidate}"
    suite = suite_of(trait, as_of=build.as_of, last_population=last_population)
    checks = (built, needs, *run_suite(connection, trait.name, query, suite))
    broken = [check for check in checks if not check.passed and check.severity == "critical"]
    if broken:
        reason = "; ".join(f"{one.name}: expected {one.expected}, found {one.observed}" for one in broken)
        return _measured(connection, trait, build, "failed", f"{reason}.", checks)
    too_few = connection.execute(
        f"select evidence from {trait.candidate} where json_extract_string(evidence, '$.rule') = $1 limit 1",
        [NOT_ENOUGH_EVIDENCE],
    ).fetchone()
    if too_few:
        return _measured(connection, trait, build, "not_enough_evidence", sentence(trait, too_few[0]), checks)
    return _measured(connection, trait, build, "passed", "", checks)


def _as_number(trait: Trait) -> str:
    if trait.type == "boolean":
        return "case when value then 1 when not value then 0 end"
    return "cast(value as double)" if trait.type == "number" else "cast(null as double)"


def _last_population(connection: duckdb.DuckDBPyConnection, trait: Trait) -> int:
    exists = connection.execute(
        "select 1 from duckdb_tables() where schema_name = 'traits' and table_name = 'trait_values'"
    ).fetchone()
    if not exists:
        return 0
    row = connection.execute("select count(*) from traits.trait_values where trait = $1", [trait.name]).fetchone()
    return int(row[0]) if row else 0


def _measured(
    connection: duckdb.DuckDBPyConnection,
    trait: Trait,
    build: Build,
    decision: Decision,
    reason: str,
    checks: tuple[Check, ...],
) -> Verdict:
    has_it = "value" if trait.type == "boolean" else "value is not null"
    counts = connection.execute(
        f"""
        select
            count(*),
            count(case when json_valid(evidence) then json_extract_string(evidence, '$.eligible') = 'true' end or null),
            count(*) filter ({has_it})
        from {trait.candidate}
        """
    ).fetchone() or (0, 0, 0)
    content = content_hash(connection, trait.candidate, trait.id_column)
    return _verdict(trait, build, decision, reason, counts, content, checks)


def _verdict(
    trait: Trait,
    build: Build,
    decision: Decision,
    reason: str,
    counts: tuple[int, ...] = (0, 0, 0),
    content: str = "",
    checks: tuple[Check, ...] = (),
) -> Verdict:
    return Verdict(
        build_id=build.build_id,
        trait=trait.name,
        as_of=build.as_of,
        definition_version=trait.version,
        verdict=decision,
        reason=reason,
        population=counts[0],
        eligible=counts[1],
        members=counts[2],
        content_hash=content,
        decided_at=utc_now(),
        checks=checks,
    )
