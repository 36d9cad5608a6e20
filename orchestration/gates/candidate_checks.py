"""What is expected of a candidate: one default suite for all traits, and the expectations of the trait's YAML entry.

``CANDIDATE_CHECKS`` is the only list of the default suite's names. Their order there is the order in which they run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from orchestration.declarations.traits import Trait
from orchestration.gates.candidate_measures import SIZE_QUANTILES
from orchestration.gates.engine import Expected
from orchestration.gates.interval import LearnedInterval, most_flips, usual_rows, usual_share, usual_size
from orchestration.published.history import PublishedPast
from orchestration.published.sentences import quoted_value

# Checks outside the suite: the first two come before it, the others after it.
BUILT, REQUIRED_BEHAVIOURS = "built", "required_behaviours"
INPUTS, UPSTREAM = "inputs", "upstream"
SCORE_SIZE = "score_size"

# Without enough history, a larger share that changes at once is a fault and not news.
MOST_FLIPS_WITHOUT_HISTORY = 0.5


@dataclass(frozen=True)
class Circumstances:
    """What the expectations of a candidate depend on, besides its trait.

    Attributes:
        as_of: clock that every row must carry, naive UTC.
        past: what was published of the trait.
        scores: rows whose score is not 0.
        hours_allowed: how old the newest event may be at as_of.

    """

    as_of: datetime
    past: PublishedPast
    scores: int
    hours_allowed: float


@dataclass(frozen=True)
class CandidateCheck:
    """One check of the default suite.

    Attributes:
        name: stable.
        expectation: makes the expectation from the name, the trait and the circumstances.
        waivable: whether a person may let a failure through: it may be unusual and real. What is wrong is never waived.
        of_type: the only type of trait that has the check; empty when all have it.

    """

    name: str
    expectation: Callable[[str, Trait, Circumstances], Expected]
    waivable: bool = False
    of_type: str = ""


def check_names(trait: Trait) -> list[str]:
    """Names of all checks of a trait in the order in which they run, known before anything runs."""
    suite = [*_default_names(trait), *_declared_names(trait)]
    return [BUILT, REQUIRED_BEHAVIOURS, *suite, INPUTS, *([UPSTREAM] if trait.ancestors else [])]


def candidate_suite(trait: Trait, circumstances: Circumstances) -> list[Expected]:
    """The default suite and the trait's own expectations."""
    suite = [check.expectation(check.name, trait, circumstances) for check in _default_checks(trait)]
    suite += [
        Expected(name, declared.type, declared.kwargs, severity=declared.severity, expected=declared.description)
        for name, declared in zip(_declared_names(trait), trait.gate, strict=True)
    ]
    return suite


def no_rows(name: str, condition: str, *, expected: str) -> Expected:
    """An expectation that no row fulfils a condition."""
    return Expected(
        name,
        "unexpected_rows_expectation",
        {"unexpected_rows_query": f"select * from {{batch}} where {condition}"},
        expected=expected,
        rows=condition,
    )


def _default_checks(trait: Trait) -> list[CandidateCheck]:
    return [check for check in CANDIDATE_CHECKS if check.of_type in ("", trait.type)]


def _default_names(trait: Trait) -> list[str]:
    return [check.name for check in _default_checks(trait)]


def _declared_names(trait: Trait) -> list[str]:
    """Names of the trait's own expectations: that of the type, and a number where another check begins with it."""
    names: list[str] = []
    for declared in trait.gate:
        name = declared.type.removeprefix("expect_")
        taken = sum(other.startswith(name) for other in (*_default_names(trait), *names))
        names.append(f"{name}_{taken + 1}" if taken else name)
    return names


def _grain(name: str, trait: Trait, _: Circumstances) -> Expected:
    id_column = trait.id_column
    return Expected(
        name,
        "expect_column_values_to_be_unique",
        {"column": id_column},
        expected=f"one row for each {trait.entity}",
        rows=f"{id_column} in (select {id_column} from batch group by {id_column} having count(*) > 1)",
    )


def _entity(name: str, trait: Trait, _: Circumstances) -> Expected:
    return _not_null(name, trait.id_column, expected=f"every {trait.id_column} there")


def _value(name: str, _: Trait, __: Circumstances) -> Expected:
    return _not_null(name, "value", expected="every value known")


def _not_null(name: str, column: str, *, expected: str) -> Expected:
    return Expected(
        name,
        "expect_column_values_to_not_be_null",
        {"column": column},
        expected=expected,
        rows=f"{column} is null",
    )


def _value_type(name: str, trait: Trait, _: Circumstances) -> Expected:
    text = "cast(value as varchar)"
    is_typed = {
        "boolean": f"value is null or {text} in ('true', 'false')",
        "number": f"value is null or coalesce(isfinite(try_cast({text} as double)), false)",
        "category": f"value is null or {text} != ''",
    }[trait.type]
    return no_rows(name, f"({is_typed}) is not true", expected=f"every value a {trait.type}")


def _score(name: str, _: Trait, __: Circumstances) -> Expected:
    return no_rows(name, "isnan(score) or isinf(score)", expected="every score null or finite")


def _score_size(name: str, _: Trait, circumstances: Circumstances) -> Expected:
    """Whether the scores, those of 0 left out, have kept their order of magnitude."""
    past, scores = circumstances.past, circumstances.scores
    usual = {
        "median": usual_size(past.medians, scores, days=past.days),
        "p95": usual_size(past.p95s, scores, days=past.days),
    }
    known = {quantile: interval for quantile, interval in usual.items() if interval.low is not None}
    outside = [f"{quantile} not between {interval.low!r} and {interval.high!r}" for quantile, interval in known.items()]
    return Expected(
        name,
        "unexpected_rows_expectation",
        {
            "unexpected_rows_query": f"""
                select *
                from (select {SIZE_QUANTILES} from {{batch}}) as sizes
                where {" or ".join(outside) or "false"}
            """
        },
        expected="scores as large as those published: "
        + (
            ", ".join(f"{quantile} {interval.words}" for quantile, interval in known.items())
            or "there are none to compare with"
        ),
    )


def _evidence(name: str, trait: Trait, _: Circumstances) -> Expected:
    """The evidence is readable, and the sentence of its rule can be written."""
    cases = []
    for rule in trait.sentences:
        known = [f"{quoted_value(placeholder)} is not null" for placeholder in trait.placeholders(rule)]
        cases.append(f"when '{rule}' then {' and '.join(known) or 'true'}")
    is_whole = f"""case when json_valid(evidence) and json_type(evidence) = 'OBJECT' then
        case json_extract_string(evidence, '$.rule') {" ".join(cases)} else false end end"""
    return no_rows(
        name,
        f"({is_whole}) is not true",
        expected="JSON that names a declared rule and holds what its sentence quotes",
    )


def _as_of(name: str, _: Trait, circumstances: Circumstances) -> Expected:
    as_of = circumstances.as_of
    return no_rows(name, f"as_of is distinct from timestamp '{as_of}'", expected=f"every as_of {as_of}")


def _known(name: str, trait: Trait, _: Circumstances) -> Expected:
    entities = f"identity.dim_{trait.entity}s"
    return no_rows(
        name,
        f"{trait.id_column} not in (select {trait.id_column} from {entities})",
        expected=f"every {trait.entity} in {entities}",
    )


def _population(name: str, _: Trait, circumstances: Circumstances) -> Expected:
    past = circumstances.past
    rows = usual_rows(past.populations or (past.rows,), days=past.days)
    low, high = round(rows.low or 1), None if rows.high is None else round(rows.high)
    return Expected(
        name,
        "expect_table_row_count_to_be_between",
        {"min_value": low, "max_value": high},
        expected=f"{low} rows or more" + (f", {high} at most" if high else "") + f"; {past.rows} are published",
    )


def _flips(name: str, trait: Trait, circumstances: Circumstances) -> Expected:
    past = circumstances.past
    most = most_flips(past.flips, past.populations, past.rows, days=past.days) or MOST_FLIPS_WITHOUT_HISTORY
    return Expected(
        name,
        "expect_column_mean_to_be_between",
        {"column": "flips", "max_value": most},
        expected=f"a share of {most:.4g} of the {trait.entity}s, or less, to change at once",
        rows="flips = 1",
    )


def _freshness(name: str, _: Trait, circumstances: Circumstances) -> Expected:
    hours = circumstances.hours_allowed
    return Expected(
        name,
        "expect_column_max_to_be_between",
        {"column": "hours_behind", "max_value": hours},
        expected=f"the newest event at most {hours:g} hours before as_of",
    )


def _prevalence(name: str, _: Trait, circumstances: Circumstances) -> Expected:
    past = circumstances.past
    share: LearnedInterval = usual_share(past.shares, past.flips, past.rows, days=past.days)
    return Expected(
        name,
        "expect_column_mean_to_be_between",
        {
            "column": "value_number",
            "min_value": 0 if share.low is None else share.low,
            "max_value": 1 if share.high is None else share.high,
        },
        expected=f"share of members: {share.words}",
    )


CANDIDATE_CHECKS = (
    CandidateCheck("grain", _grain),
    CandidateCheck("entity", _entity),
    CandidateCheck("value", _value),
    CandidateCheck("value_type", _value_type),
    CandidateCheck("score", _score),
    CandidateCheck(SCORE_SIZE, _score_size, waivable=True),
    CandidateCheck("evidence", _evidence),
    CandidateCheck("as_of", _as_of),
    CandidateCheck("known", _known),
    CandidateCheck("population", _population, waivable=True),
    CandidateCheck("flips", _flips, waivable=True),
    CandidateCheck("freshness", _freshness, waivable=True),
    CandidateCheck("prevalence", _prevalence, waivable=True, of_type="boolean"),
)
# What these checks find is wrong, and no matter of opinion.
NON_WAIVABLE = frozenset(
    {BUILT, REQUIRED_BEHAVIOURS, UPSTREAM, *(check.name for check in CANDIDATE_CHECKS if not check.waivable)}
)
