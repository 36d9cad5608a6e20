"""The candidate audit: which candidates may be published.

One trait's failure withholds that trait and the traits that are built on it, and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import duckdb

from orchestration.declarations.traits import NOT_ENOUGH_EVIDENCE, Trait
from orchestration.gates.candidate_checks import (
    BUILT,
    REQUIRED_BEHAVIOURS,
    SCORE_SIZE,
    UPSTREAM,
    Circumstances,
    candidate_suite,
)
from orchestration.gates.candidate_measures import RowCounts, ScoreSizes, count_rows, measure_scores
from orchestration.gates.data_docs import write_data_docs
from orchestration.gates.engine import collecting, run_suite
from orchestration.gates.failed_rows import keep_failed_rows
from orchestration.gates.interval import MOST_HISTORY
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
from orchestration.published.history import PublishedPast, read_pasts
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
        pasts = read_pasts(connection, project.catalog, build, MOST_HISTORY)
        hours_allowed = float(project.variables["input_freshness_hours"])
        hours_behind = _hours_behind(connection, build)
        last = last_verdicts(connection)
        judged = []
        # A trait has more upstream traits than any of its upstream traits, so these are judged before it.
        for trait in sorted(project.catalog.traits, key=lambda trait: len(trait.ancestors)):
            if trait.name not in made or not _is_asked_for(trait, traits):
                continue
            try:
                gate = _Gate(connection, build, pasts[trait.name], hours_allowed, hours_behind)
                verdict = gate.judge(trait, made[trait.name])
            except Exception as error:  # whatever breaks one gate must not hold the other traits
                reason = f"Its gate could not be evaluated: {' '.join(str(error).split())[:300]}"
                verdict = _verdict(trait, build, "failed", reason)
            verdict = _with_others(trait, verdict, sources, last)
            last[trait.name] = with_waiver(connection, verdict)
            judged.append(trait.name)
            notify(f"gate {trait.name}: {last[trait.name].verdict}")
        verdicts = [last[name] for name in sorted(judged)]
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


_NO_ROWS = RowCounts()


@dataclass(frozen=True)
class _Made:
    """How dbt made one candidate: status and message of its model, and the hash of the rows that it made."""

    status: str
    message: str
    content_hash: str


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


def _with_others(trait: Trait, verdict: Verdict, sources: Iterable[SourceVerdict], last: dict[str, Verdict]) -> Verdict:
    """The verdict with the checks on what the trait is built on: sources, and upstream traits if it has any."""
    verdict = with_inputs(verdict, sources)
    if not trait.ancestors:
        return verdict
    withheld = [name for name in sorted(trait.ancestors & {*last}) if last[name].withheld]
    found = " ".join(f"Its upstream trait {name} is withheld." for name in withheld)
    return with_check(verdict, UPSTREAM, "no withheld upstream trait", found)


def _hours_behind(connection: duckdb.DuckDBPyConnection, build: Build) -> float:
    """Hours from the newest event to as_of; 0 or less when there are later events."""
    row = connection.execute("select max(newest_event_at) from raw.loads").fetchone()
    return (build.as_of - row[0]).total_seconds() / 3600 if row and row[0] else 0.0


@dataclass(frozen=True)
class _Gate:
    """What one trait is judged with.

    Attributes:
        connection: the warehouse.
        build: the current one.
        past: what was published of the trait.
        hours_allowed: how old the newest event may be at as_of.
        hours_behind: how old it is.

    """

    connection: duckdb.DuckDBPyConnection
    build: Build
    past: PublishedPast
    hours_allowed: float
    hours_behind: float

    def judge(self, trait: Trait, made: _Made) -> Verdict:
        connection, build, past = self.connection, self.build, self.past
        built = Check(BUILT, made.status == "success", "critical", "the model runs in this build", made.message)
        if not built.passed:
            why = "an upstream model failed" if made.status == "skipped" else f"the model failed: {made.message}"
            return _verdict(trait, build, "failed", f"It was not computed, because {why}.", checks=(built,))
        if content_hash(connection, trait.candidate, trait.id_column) != made.content_hash:
            reason = "Its rows are not those that its model made in this build."
            return _verdict(trait, build, "failed", reason, checks=(replace(built, passed=False, observed=reason),))
        missing = missing_behaviour(connection, trait)
        required = Check(
            REQUIRED_BEHAVIOURS,
            not missing,
            "critical" if past.rows else "warning",
            f"events for {', '.join(trait.needs) or 'nothing'}",
            missing or "there are",
        )
        if missing:
            decision: Decision = "failed" if past.rows else "not_enough_evidence"
            return _verdict(trait, build, decision, missing, checks=(built, required))
        if not past.rows and connection.execute(f"select 1 from {trait.candidate} limit 1").fetchone() is None:
            reason = f"No {trait.entity} has been seen yet."
            return _verdict(trait, build, "not_enough_evidence", reason, checks=(built, required))
        sizes = measure_scores(connection, trait)
        checks = (built, required, *self._run_suite(trait, sizes))
        if reason := broken_reason(checks):
            return _measured(connection, trait, build, "failed", reason, checks, sizes)
        too_few = connection.execute(
            f"select evidence from {trait.candidate} where json_extract_string(evidence, '$.rule') = $1 limit 1",
            [NOT_ENOUGH_EVIDENCE],
        ).fetchone()
        if too_few:
            why = sentence(trait, too_few[0])
            return _measured(connection, trait, build, "not_enough_evidence", why, checks, sizes)
        return _measured(connection, trait, build, "passed", "", checks, sizes)

    def _run_suite(self, trait: Trait, sizes: ScoreSizes) -> tuple[Check, ...]:
        """Checks of the suite; rows that broke one of them are kept."""
        query = self._rows(trait)
        suite = candidate_suite(
            trait, Circumstances(self.build.as_of, self.past, scores=sizes.scores, hours_allowed=self.hours_allowed)
        )
        checks = tuple(
            replace(check, observed=sizes.words) if check.name == SCORE_SIZE else check
            for check in run_suite(self.connection, trait.name, query, suite)
        )
        keep_failed_rows(self.connection, self.build.build_id, trait, query, suite, checks)
        return checks

    def _rows(self, trait: Trait) -> str:
        """SQL of the candidate with value_number (the value as a number), flips (0 or 1) and hours_behind."""
        return f"""
            select
                c.*, {_as_number(trait)} as value_number, cast({self.hours_behind!r} as double) as hours_behind,
                cast(v.value is not null and cast(c.value as varchar) is distinct from v.value as integer) as flips
            from {trait.candidate} as c
            left join traits.trait_values as v
                on v.trait = '{trait.name}' and v.entity_id = c.{trait.id_column}
                    and v.definition_version = {trait.version}
        """


def _as_number(trait: Trait) -> str:
    if trait.type == "boolean":
        return "case when c.value then 1 when not c.value then 0 end"
    return "cast(c.value as double)" if trait.type == "number" else "cast(null as double)"


def _measured(
    connection: duckdb.DuckDBPyConnection,
    trait: Trait,
    build: Build,
    decision: Decision,
    reason: str,
    checks: tuple[Check, ...],
    sizes: ScoreSizes,
) -> Verdict:
    """The verdict on a candidate whose rows were judged."""
    content = content_hash(connection, trait.candidate, trait.id_column)
    verdict = _verdict(trait, build, decision, reason, count_rows(connection, trait), content, checks)
    return replace(verdict, score_median=sizes.median, score_p95=sizes.p95)


def _verdict(
    trait: Trait,
    build: Build,
    decision: Decision,
    reason: str,
    counts: RowCounts = _NO_ROWS,
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
        population=counts.population,
        eligible=counts.eligible,
        members=counts.members,
        content_hash=content,
        decided_at=utc_now(),
        checks=checks,
    )
