"""The candidate audit: which candidates may be published.

SQL measures every candidate (candidate_measures.py), and one suite of Great Expectations judges all of them at once.
One trait's failure withholds that trait and the traits that are built on it, and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.gates.candidate_checks import AGREEMENT, BUILT, CONTRADICTIONS, REQUIRED_BEHAVIOURS, UPSTREAM
from orchestration.gates.candidate_order import judged_in_order
from orchestration.gates.candidate_suite import MeasuredTrait, MeasuredTraits, judge_declared, measure_traits
from orchestration.gates.data_docs import write_data_docs
from orchestration.gates.engine import collecting
from orchestration.gates.failed_rows import keep_failed_rows
from orchestration.gates.requirements import missing_behaviour
from orchestration.gates.source_verdicts import SourceVerdict
from orchestration.gates.sources import judge_sources, with_inputs
from orchestration.gates.verdicts import (
    Check,
    Decision,
    Verdict,
    broken_checks,
    last_verdicts,
    save_verdicts,
    with_check,
)
from orchestration.gates.waivers import with_waiver
from orchestration.home import Notify, silent, utc_now
from orchestration.published.rows import fetch_rows
from orchestration.published.sentences import sentence
from orchestration.transform.build import Build, current_build
from orchestration.transform.content import content_hash
from orchestration.transform.dbt import Project


def audit(
    project: Project,
    *,
    traits: Sequence[str] | None = None,
    notify: Notify = silent,
) -> list[Verdict]:
    """Judges the candidates that the current build made, and keeps the verdicts.

    Args:
        project: what is declared; hold the lock of its home.
        traits: names; the traits that are built on them are judged as well. All traits when not given.
        notify: progress.

    Returns:
        The verdicts, by name of the trait.

    """
    with project.home.connect() as connection, collecting() as results:
        build = current_build(connection)
        if build is None:
            return []
        made = _made_candidates(connection, build)
        sources = judge_sources(connection, project, build, notify=notify)
        wanted = [
            trait
            for trait in judged_in_order(project.catalog.traits)
            if trait.name in made and _is_asked_for(trait, traits)
        ]
        early = {trait.name: _judge_without_rows(connection, build, trait, made[trait.name]) for trait in wanted}
        left = [trait for trait in wanted if isinstance(early[trait.name], _Candidate)]
        whole = {name for name, how in made.items() if how.status == "success"}
        measured = measure_traits(connection, project, build, left, whole)
        last = last_verdicts(connection)
        for trait in wanted:
            begun = early[trait.name]
            if isinstance(begun, _Candidate):
                try:
                    begun = _judge(connection, build, trait, begun, measured, last)
                except Exception as error:  # whatever breaks one gate must not hold the other traits
                    begun = _could_not_be_evaluated(trait, build, error)
            verdict = _with_others(trait, begun, sources, last)
            last[trait.name] = with_waiver(connection, verdict)
            notify(f"gate {trait.name}: {last[trait.name].verdict}")
        verdicts = [last[name] for name in sorted(trait.name for trait in wanted)]
        save_verdicts(connection, verdicts)
    if traits is None:
        try:
            docs = write_data_docs(project.home.root, build.build_id, results, kept=project.home.settings.builds_kept)
            project.home.note(data_docs=str(docs))
        except Exception as error:  # a failure of these pages withholds nothing
            notify(f"Data Docs could not be written: {' '.join(str(error).split())[:300]}")
    return verdicts


def broken_reason(checks: Iterable[Check]) -> str:
    """The critical checks that failed, as a sentence; empty when none did."""
    broken = broken_checks(checks)
    sentences = (f"{check.name}: expected {check.expected}, found {check.observed}" for check in broken)
    return "; ".join(sentences) + "." * bool(broken)


@dataclass(frozen=True)
class _Made:
    """How dbt made one candidate: status and message of its model, and the hash of the rows that it made."""

    status: str
    message: str
    content_hash: str


@dataclass(frozen=True)
class _Candidate:
    """A candidate whose rows have to be looked at: its hash, and the checks that have passed so far."""

    content_hash: str
    checks: tuple[Check, ...]


def _made_candidates(connection: duckdb.DuckDBPyConnection, build: Build) -> dict[str, _Made]:
    """By name of the model, for the models that ran in a build or were skipped in it."""
    rows = fetch_rows(
        connection,
        "select name, status, message, content_hash from state.node_results where build_id = $build_id",
        {"build_id": build.build_id},
    )
    return {row.pop("name"): _Made(**row) for row in rows}


def _is_asked_for(trait: Trait, traits: Sequence[str] | None) -> bool:
    return traits is None or bool({trait.name, *trait.ancestors} & {*traits})


def _judge_without_rows(
    connection: duckdb.DuckDBPyConnection, build: Build, trait: Trait, made: _Made
) -> Verdict | _Candidate:
    """The verdict on a candidate that need not or cannot be looked at; otherwise what is known of it."""
    try:
        built = Check(BUILT, made.status == "success", "critical", "the model runs in this build", made.message)
        if not built.passed:
            why = "an upstream model failed" if made.status == "skipped" else f"the model failed: {made.message}"
            return _verdict(trait, build, "failed", f"It was not computed, because {why}.", checks=(built,))
        content = content_hash(connection, trait.candidate, trait.id_column)
        if content != made.content_hash:
            reason = "Its rows are not those that its model made in this build."
            return _verdict(trait, build, "failed", reason, checks=(replace(built, passed=False, observed=reason),))
        missing = missing_behaviour(connection, trait)
        needed = f"events for {', '.join(trait.needs) or 'nothing'}"
        # Nobody is told what was not judged, also where it was published before.
        required = Check(REQUIRED_BEHAVIOURS, not missing, "warning", needed, missing or "there are")
        if missing:
            return _verdict(trait, build, "not_enough_evidence", missing, checks=(built, required))
        if connection.execute(
            f"""
            select 1 where not exists (from {trait.candidate})
                and not exists (from traits.trait_values where trait = $1)
            """,
            [trait.name],
        ).fetchone():
            reason = f"No {trait.entity} has been seen yet."
            return _verdict(trait, build, "not_enough_evidence", reason, checks=(built, required))
        return _Candidate(content, (built, required))
    except Exception as error:
        return _could_not_be_evaluated(trait, build, error)


def _judge(
    connection: duckdb.DuckDBPyConnection,
    build: Build,
    trait: Trait,
    candidate: _Candidate,
    measured: MeasuredTraits,
    last: Mapping[str, Verdict],
) -> Verdict:
    """The verdict on a candidate whose rows were measured."""
    own = measured.of(trait)
    passed = {
        name for name, verdict in last.items() if verdict.build_id == build.build_id and verdict.verdict == "passed"
    }
    of_suite = measured.checks(trait, passed)
    if any(last[name].withheld for name in trait.upstream_traits if name in last):
        # It cannot agree with what is wrong itself, and is withheld for that.
        of_suite = tuple(replace(check, severity="info") if check.name in AGREEMENT else check for check in of_suite)
    checks = (*candidate.checks, *of_suite, *judge_declared(connection, trait))
    broken = {check.name: own.rows[check.name] for check in of_suite if not check.passed and check.name in own.rows}
    if CONTRADICTIONS in {check.name for check in of_suite if not check.passed}:
        broken[CONTRADICTIONS] = measured.contradicting_rows(trait, passed)
    keep_failed_rows(connection, build.build_id, trait, own.steps, broken)
    if reason := broken_reason(checks):
        return _of_rows(trait, build, "failed", reason, candidate, own, checks)
    if own.row["unjudged"]:
        why = sentence(trait, own.row["unjudged"])
        return _of_rows(trait, build, "not_enough_evidence", why, candidate, own, checks)
    unjudged = _unjudged_inputs(trait, last)
    if unjudged:
        why = f"It is made of {' and '.join(unjudged)}, of which there is not enough evidence."
        return _of_rows(trait, build, "not_enough_evidence", why, candidate, own, checks)
    return _of_rows(trait, build, "passed", "", candidate, own, checks)


def _unjudged_inputs(trait: Trait, last: Mapping[str, Verdict]) -> list[str]:
    """Traits that it is made of, that were not judged, and that it has no rule for; traits it declares have one."""
    inputs = sorted(trait.ancestors - {*trait.upstream_traits}) if not trait.upstream_traits else []
    return [name for name in inputs if name in last and last[name].verdict == "not_enough_evidence"]


def _with_others(trait: Trait, verdict: Verdict, sources: Iterable[SourceVerdict], last: dict[str, Verdict]) -> Verdict:
    """The verdict with the checks on what the trait is built on: sources, and upstream traits if it has any."""
    verdict = with_inputs(verdict, sources)
    if not trait.ancestors:
        return verdict
    withheld = [name for name in sorted(trait.ancestors & {*last}) if last[name].withheld]
    found = " ".join(f"Its upstream trait {name} is withheld." for name in withheld)
    return with_check(verdict, UPSTREAM, "no withheld upstream trait", found)


def _could_not_be_evaluated(trait: Trait, build: Build, error: Exception) -> Verdict:
    reason = f"Its gate could not be evaluated: {' '.join(str(error).split())[:300]}"
    return _verdict(trait, build, "failed", reason)


def _of_rows(
    trait: Trait,
    build: Build,
    decision: Decision,
    reason: str,
    candidate: _Candidate,
    own: MeasuredTrait,
    checks: tuple[Check, ...],
) -> Verdict:
    """The verdict on a candidate whose rows were judged."""
    verdict = _verdict(trait, build, decision, reason, own.row, candidate.content_hash, checks)
    return replace(verdict, score_median=own.row["score_median"], score_p95=own.row["score_p95"])


_NO_ROWS: Mapping[str, Any] = {"population": 0, "eligible": 0, "members": 0}


def _verdict(
    trait: Trait,
    build: Build,
    decision: Decision,
    reason: str,
    counts: Mapping[str, Any] = _NO_ROWS,
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
        population=counts["population"],
        eligible=counts["eligible"],
        members=counts["members"],
        content_hash=content,
        decided_at=utc_now(),
        checks=checks,
    )
