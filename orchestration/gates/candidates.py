"""The door out: which candidates may be published.

Every trait gets the same default suite, and the extra expectations of its YAML entry. One trait's failure is that
trait's alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb

from orchestration.declarations.traits import NOT_ENOUGH_EVIDENCE, Trait
from orchestration.gates.data_docs import write_data_docs
from orchestration.gates.engine import Expected, collecting, run_suite
from orchestration.gates.failed_rows import keep_failed_rows
from orchestration.gates.interval import MOST_HISTORY, most_flips, usual_rows, usual_share, usual_size
from orchestration.gates.requirements import unmet_need
from orchestration.gates.sources import INPUTS, judge_sources, with_inputs
from orchestration.gates.verdicts import Check, Decision, Verdict, last_verdicts, save_verdicts, with_check
from orchestration.gates.waivers import with_acceptance
from orchestration.home import Notify, silent, utc_now
from orchestration.published.history import Past, read_pasts
from orchestration.published.sentences import quoted_value, sentence
from orchestration.transform.build import Build, current_build
from orchestration.transform.content import content_hash
from orchestration.transform.dbt import Project

# Before there is history enough, so much at once is a fault and no news.
MOST_FLIPS_WITHOUT_HISTORY = 0.5
SCORE_SIZE, MADE_OF = "score_size", "made_of"
# Each is the score of a row, for a quantile between two rows has a magnitude that no row has; and so has no 0.
_HAS_SIZE = "isfinite(score) and score != 0"
_QUANTILES = ", ".join(
    f"quantile_disc(abs(score), {share}) filter ({_HAS_SIZE}) as {name}"
    for name, share in (("median", 0.5), ("p95", 0.95))
)
# A person may let these through; the others are never a matter of opinion.
DEFINITE = ("built", "needs", "grain", "entity", "value", "value_type", "score", "evidence", "as_of", "known", MADE_OF)


def check_names(trait: Trait) -> list[str]:
    """Names of all checks of a trait, known before anything runs."""
    suite = suite_of(trait, as_of=datetime(1970, 1, 1), past=Past(), scores=0, hours_allowed=0)
    return [
        "built",
        "needs",
        *(expected.name for expected in suite),
        INPUTS,
        *([MADE_OF] if trait.upstream_traits else []),
    ]


def suite_of(trait: Trait, *, as_of: datetime, past: Past, scores: int, hours_allowed: float) -> list[Expected]:
    """The default suite and the trait's own expectations.

    Args:
        trait: what is judged.
        as_of: clock that every row must carry.
        past: what was published of it.
        scores: how many rows have one that is not 0.
        hours_allowed: how old the newest event may be at as_of.

    """
    id_column = trait.id_column
    rows = usual_rows(past.populations or (past.rows,), days=past.days)
    share = usual_share(past.shares, past.flips, past.rows, days=past.days)
    flips = most_flips(past.flips, past.populations, past.rows, days=past.days) or MOST_FLIPS_WITHOUT_HISTORY
    nowhere = f"{id_column} not in (select {id_column} from identity.dim_{trait.entity}s)"
    suite = [
        Expected(
            "grain",
            "expect_column_values_to_be_unique",
            {"column": id_column},
            expected=f"one row a {trait.entity}",
            rows=f"{id_column} in (select {id_column} from batch group by {id_column} having count(*) > 1)",
        ),
        Expected(
            "entity",
            "expect_column_values_to_not_be_null",
            {"column": id_column},
            expected=f"every {id_column} there",
            rows=f"{id_column} is null",
        ),
        Expected(
            "value",
            "expect_column_values_to_not_be_null",
            {"column": "value"},
            expected="every value known",
            rows="value is null",
        ),
        no_rows(
            "value_type",
            f"({_value_is_typed(trait)}) is not true",
            expected=f"every value a {trait.type}",
        ),
        no_rows("score", "isnan(score) or isinf(score)", expected="every score null or finite"),
        _score_size(past, scores),
        no_rows(
            "evidence",
            f"({_evidence_is_whole(trait)}) is not true",
            expected="JSON that names a declared rule and holds what its sentence quotes",
        ),
        no_rows("as_of", f"as_of is distinct from timestamp '{as_of}'", expected=f"every as_of {as_of}"),
        no_rows("known", nowhere, expected=f"every {trait.entity} one of identity.dim_{trait.entity}s"),
        Expected(
            "population",
            "expect_table_row_count_to_be_between",
            {"min_value": round(rows.low or 1), "max_value": None if rows.high is None else round(rows.high)},
            expected=f"{round(rows.low or 1)} rows or more"
            + (f", {round(rows.high)} at most" if rows.high else "")
            + f"; {past.rows} are published",
        ),
        Expected(
            "flips",
            "expect_column_mean_to_be_between",
            {"column": "flips", "max_value": flips},
            expected=f"a share of {flips:.4g} of the {trait.entity}s, or less, to change at once",
            rows="flips = 1",
        ),
        Expected(
            "freshness",
            "expect_column_max_to_be_between",
            {"column": "hours_behind", "max_value": hours_allowed},
            expected=f"the newest event at most {hours_allowed:g} hours before as_of",
        ),
    ]
    if trait.type == "boolean":
        suite.append(
            Expected(
                "prevalence",
                "expect_column_mean_to_be_between",
                {
                    "column": "value_number",
                    "min_value": 0 if share.low is None else share.low,
                    "max_value": 1 if share.high is None else share.high,
                },
                expected=f"share of members: {share.words}",
            )
        )
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


def _score_size(past: Past, scores: int) -> Expected:
    """Whether the scores, those of 0 left out, have kept their order of magnitude."""
    usual = {
        "median": usual_size(past.medians, scores, days=past.days),
        "p95": usual_size(past.p95s, scores, days=past.days),
    }
    known = {name: one for name, one in usual.items() if one.low is not None}
    outside = [f"{name} not between {one.low!r} and {one.high!r}" for name, one in known.items()]
    return Expected(
        SCORE_SIZE,
        "unexpected_rows_expectation",
        {
            "unexpected_rows_query": f"""
                select *
                from (select {_QUANTILES} from {{batch}}) as sizes
                where {" or ".join(outside) or "false"}
            """
        },
        expected="scores as large as those published: "
        + (", ".join(f"{name} {one.words}" for name, one in known.items()) or "there are none to compare with"),
    )


def no_rows(name: str, condition: str, *, expected: str) -> Expected:
    """An expectation that no row fulfils a condition."""
    return Expected(
        name,
        "unexpected_rows_expectation",
        {"unexpected_rows_query": f"select * from {{batch}} where {condition}"},
        expected=expected,
        rows=condition,
    )


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
    project: Project,
    *,
    traits: Sequence[str] | None = None,
    notify: Notify = silent,
) -> list[Verdict]:
    """Judges the candidates that the current build made, and keeps the verdicts.

    Args:
        project: what is declared; hold the lock of its home.
        traits: names, which stand for what is made of them too; all when not given.
        notify: progress.

    """
    with project.home.connect() as connection, collecting() as results:
        build = current_build(connection)
        if build is None:
            return []
        results_of = {
            name: result
            for name, *result in connection.execute(
                "select name, status, message, content_hash from state.node_results where build_id = $1",
                [build.build_id],
            ).fetchall()
        }
        sources = judge_sources(connection, project, build, notify=notify)
        pasts = read_pasts(connection, project.catalog, build, MOST_HISTORY)
        hours_allowed = float(project.variables["input_freshness_hours"])
        behind = _hours_behind(connection, build)
        last = last_verdicts(connection)
        judged = []
        # What a trait is made of is made of less than it is.
        for trait in sorted(project.catalog.traits, key=lambda trait: len(trait.upstream_traits)):
            if trait.name in results_of and (traits is None or {trait.name, *trait.upstream_traits} & {*traits}):
                try:
                    gate = _Gate(connection, build, pasts[trait.name], hours_allowed, behind)
                    verdict = gate.judge(trait, *results_of[trait.name])
                except Exception as error:  # whatever breaks one gate must not hold the other traits
                    reason = f"Its gate could not be evaluated: {' '.join(str(error).split())[:300]}"
                    verdict = _verdict(trait, build, "failed", reason)
                verdict = with_inputs(verdict, sources)
                if trait.upstream_traits:
                    withheld = [name for name in sorted(trait.upstream_traits & {*last}) if last[name].withheld]
                    found = " ".join(f"It is made of {name}, which is withheld." for name in withheld)
                    verdict = with_check(verdict, MADE_OF, "no withheld trait that it is made of", found)
                last[trait.name] = with_acceptance(connection, verdict)
                judged.append(trait.name)
                notify(f"gate {trait.name}: {last[trait.name].verdict}")
        verdicts = [last[name] for name in sorted(judged)]
        save_verdicts(connection, verdicts)
    if traits is None:
        try:
            docs = write_data_docs(project.home.root, build.build_id, results, kept=project.home.settings.builds_kept)
            project.home.note(data_docs=str(docs))
        except Exception as error:  # pages for a person hold nothing back
            notify(f"Data Docs could not be written: {' '.join(str(error).split())[:300]}")
    return verdicts


def _hours_behind(connection: duckdb.DuckDBPyConnection, build: Build) -> float:
    """From the newest event to as_of; at most 0 when events go on after it."""
    row = connection.execute("select max(newest_event_at) from raw.loads").fetchone()
    return (build.as_of - row[0]).total_seconds() / 3600 if row and row[0] else 0.0


@dataclass(frozen=True)
class _Gate:
    """What one trait is judged with."""

    connection: duckdb.DuckDBPyConnection
    build: Build
    past: Past
    hours_allowed: float
    hours_behind: float

    def judge(self, trait: Trait, status: str, message: str, made: str) -> Verdict:
        connection, build, past = self.connection, self.build, self.past
        built = Check("built", status == "success", "critical", "the model runs in this build", message)
        if not built.passed:
            why = "an upstream model failed" if status == "skipped" else f"the model failed: {message}"
            return _verdict(trait, build, "failed", f"It was not computed, because {why}.", checks=(built,))
        if content_hash(connection, trait.candidate, trait.id_column) != made:
            reason = "Its rows are not those that its model made in this build."
            return _verdict(trait, build, "failed", reason, checks=(replace(built, passed=False, observed=reason),))
        reason = unmet_need(connection, trait)
        needs = Check(
            "needs",
            not reason,
            "critical" if past.rows else "warning",
            f"events for {', '.join(trait.needs) or 'nothing'}",
            reason or "there are",
        )
        if reason:
            decision: Decision = "failed" if past.rows else "not_enough_evidence"
            return _verdict(trait, build, decision, reason, checks=(built, needs))
        if not past.rows and connection.execute(f"select 1 from {trait.candidate} limit 1").fetchone() is None:
            reason = f"No {trait.entity} has been seen yet."
            return _verdict(trait, build, "not_enough_evidence", reason, checks=(built, needs))
        query = self._rows(trait)
        sizes = _sizes(connection, trait)
        suite = suite_of(trait, as_of=build.as_of, past=past, scores=sizes[0], hours_allowed=self.hours_allowed)
        found = "no score but 0" if sizes[1] is None else f"median {sizes[1]:.4g}, p95 {sizes[2]:.4g}"
        ran = run_suite(connection, trait.name, query, suite)
        ran = tuple(replace(check, observed=found) if check.name == SCORE_SIZE else check for check in ran)
        checks = (built, needs, *ran)
        keep_failed_rows(connection, build.build_id, trait, query, suite, checks)
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

    def _rows(self, trait: Trait) -> str:
        """SQL of the candidate with what expectations look at: the value as a number, whether it flips, input's age."""
        return f"""
            select
                c.*, {_as_number(trait)} as value_number, cast({self.hours_behind!r} as double) as hours_behind,
                cast(v.value is not null and cast(c.value as varchar) is distinct from v.value as integer) as flips
            from {trait.candidate} as c
            left join traits.trait_values as v
                on v.trait = '{trait.name}' and v.entity_id = c.{trait.id_column}
                    and v.definition_version = {trait.version}
        """


def broken_reason(checks: Iterable[Check]) -> str:
    """What failed and withholds, as a sentence; empty when nothing did."""
    broken = [check for check in checks if not check.passed and check.severity == "critical"]
    return "; ".join(f"{one.name}: expected {one.expected}, found {one.observed}" for one in broken) + "." * bool(
        broken
    )


def _as_number(trait: Trait) -> str:
    if trait.type == "boolean":
        return "case when c.value then 1 when not c.value then 0 end"
    return "cast(c.value as double)" if trait.type == "number" else "cast(null as double)"


def _sizes(connection: duckdb.DuckDBPyConnection, trait: Trait) -> tuple[int, float | None, float | None]:
    """How many scores are not 0, and the quantiles of their sizes; null when there is none."""
    found = connection.execute(f"select count(*) filter ({_HAS_SIZE}), {_QUANTILES} from {trait.candidate}")
    return found.fetchone() or (0, None, None)


def _measured(
    connection: duckdb.DuckDBPyConnection,
    trait: Trait,
    build: Build,
    decision: Decision,
    reason: str,
    checks: tuple[Check, ...],
    sizes: tuple[int, float | None, float | None],
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
    verdict = _verdict(trait, build, decision, reason, counts, content, checks)
    return replace(verdict, score_median=sizes[1], score_p95=sizes[2])


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
