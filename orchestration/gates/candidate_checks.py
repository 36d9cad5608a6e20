"""What is expected of a candidate: one suite for all traits, and the expectations of the trait's YAML entry.

``CANDIDATE_CHECKS`` is the only list of the suite. Each check is a number that SQL measures for each trait
(candidate_measures.py) and bounds beside it (candidate_bounds.py); Great Expectations compares the two, for all traits
at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestration.declarations.traits import Trait
from orchestration.gates.engine import Expected

# Checks outside the suite: the first two come before it, the others after it.
BUILT, REQUIRED_BEHAVIOURS = "built", "required_behaviours"
CONTRADICTIONS, INPUTS, UPSTREAM = "contradictions", "inputs", "upstream"
# Name of the suite.
CANDIDATES = "candidates"
# Among the numbers of a trait, the ends of a measure are called after it.
LOW, HIGH = "_low", "_high"
# Counted by their share and not one by one.
BOUNDED_ROWS = frozenset({"flips"})


def _every(_: Trait) -> bool:
    return True


@dataclass(frozen=True)
class CandidateCheck:
    """One check of the suite.

    Attributes:
        name: stable.
        expected: in words, for a person; {entity} and {id} are the trait's.
        rows: SQL condition of the rows that break it; it is measured by how many there are, and none may. Empty where
            the check has a measure with bounds.
        waivable: whether a person may let a failure through: it may be unusual and real. What is wrong is never waived.
        measures: names of its measures; its name alone when there are none.
        concerns: which traits have it.

    """

    name: str
    expected: str
    rows: str = ""
    waivable: bool = False
    measures: tuple[str, ...] = ()
    concerns: Callable[[Trait], bool] = _every

    @property
    def is_counted(self) -> bool:
        """Whether it is measured by the rows that break it, of which none may be there."""
        return bool(self.rows) and self.name not in BOUNDED_ROWS

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its measures."""
        return self.measures or (self.name,)


CANDIDATE_CHECKS = (
    CandidateCheck(
        "grain",
        "one row for each {entity}",
        "entity_id in (select entity_id from compared where is_there group by entity_id having count(*) > 1)",
    ),
    CandidateCheck("entity", "every {id} there", "is_there and entity_id is null"),
    CandidateCheck("value", "every value known", "is_there and value is null"),
    CandidateCheck("value_type", "every value a {type}", "is_there and is_typed is not true"),
    CandidateCheck("score", "every score null or finite", "isnan(score) or isinf(score)"),
    CandidateCheck(
        "evidence",
        "JSON that names a declared rule and holds what its sentence quotes",
        "is_there and is_readable is not true",
    ),
    CandidateCheck("as_of", "every as_of that of the build", "is_there and is_of_build is not true"),
    CandidateCheck("known", "every {entity} one that has features", "is_there and not is_expected"),
    CandidateCheck("complete", "every {entity} that has features", "is_expected and not is_there"),
    CandidateCheck(
        "features",
        "features that are what the activity of the entity says, as of the build",
        "entity_id in (select * from disagreeing)",
    ),
    CandidateCheck(
        "value_agrees",
        "every value as its features, thresholds and prior value give it",
        "is_there and is_expected and agrees_in_value is not true",
    ),
    CandidateCheck(
        "score_agrees",
        "every score as its features, thresholds and prior value give it",
        "is_there and is_expected and agrees_in_score is not true",
    ),
    CandidateCheck(
        "evidence_agrees",
        "every evidence of its own {entity}: rule, eligibility, features, derived values and thresholds",
        "is_there and is_expected and is_readable and agrees_in_evidence is not true",
    ),
    CandidateCheck(
        "markup", "no text with a sign of markup or a control character", "is_there and has_markup is not false"
    ),
    CandidateCheck("thresholds", "one row of thresholds", concerns=lambda trait: bool(trait.thresholds)),
    CandidateCheck(
        "thresholds_population",
        "thresholds of as many as the declared population has",
        concerns=lambda trait: bool(population_counts(trait)),
    ),
    CandidateCheck(
        "thresholds_move",
        "thresholds that move no further than usual in the days since the last publish",
        waivable=True,
        concerns=lambda trait: bool(trait.thresholds),
    ),
    CandidateCheck(
        "score_size",
        "scores as large as those published",
        waivable=True,
        measures=("score_median", "score_p95"),
    ),
    CandidateCheck("score_nulls", "as large a share without a score as published", waivable=True),
    CandidateCheck("score_sign", "no larger a share of negative scores than published", waivable=True),
    CandidateCheck("score_rank", "scores in about the order of those published", waivable=True),
    CandidateCheck("score_total", "scores of the same entities that add up to about what was published", waivable=True),
    CandidateCheck("score_factor", "no common factor between all scores and those published", waivable=True),
    CandidateCheck(
        "score_monotone",
        "scores that follow the features that they are declared to follow",
        concerns=lambda trait: bool(trait.monotone),
    ),
    CandidateCheck("population", "as many as usual who count", waivable=True),
    CandidateCheck("vanished", "those who are published, unless they were merged into others", waivable=True),
    CandidateCheck("vanished_groups", "no whole account, plan or country that is gone", waivable=True),
    CandidateCheck("flips", "a usual share whose value changes at once", "is_counted and flips", waivable=True),
    CandidateCheck("freshness", "hours from the newest event to as_of", waivable=True),
    CandidateCheck(
        "prevalence", "a usual share of members", waivable=True, concerns=lambda trait: trait.type == "boolean"
    ),
    CandidateCheck(
        CONTRADICTIONS,
        "no member of whom another trait says the contrary",
        waivable=True,
        concerns=lambda trait: bool(trait.contradicts),
    ),
)
# Checks that hold the rows against what they are made of.
AGREEMENT = frozenset({"value_agrees", "score_agrees", "evidence_agrees"})
# What these checks find is wrong, and no matter of opinion.
NON_WAIVABLE = frozenset(
    {BUILT, REQUIRED_BEHAVIOURS, UPSTREAM, *(check.name for check in CANDIDATE_CHECKS if not check.waivable)}
)


def population_counts(trait: Trait) -> tuple[str, ...]:
    """Thresholds that say how large the population is that they were taken from."""
    return tuple(column.name for column in trait.thresholds if column.name in ("eligible_count", "population_count"))


def checks_of(trait: Trait) -> list[CandidateCheck]:
    """The checks of the suite that a trait has."""
    return [check for check in CANDIDATE_CHECKS if check.concerns(trait)]


def check_names(trait: Trait) -> list[str]:
    """Names of all checks of a trait in the order in which they run, known before anything runs."""
    suite = [*(check.name for check in checks_of(trait)), *declared_names(trait)]
    return [BUILT, REQUIRED_BEHAVIOURS, *suite, INPUTS, *([UPSTREAM] if trait.ancestors else [])]


def measure_suite() -> list[Expected]:
    """The suite over the measures, a row each; a measure or an end that is null is not compared."""
    return [
        _not_less("no measure below its lower end", "measure", "low"),
        _not_less("no measure above its upper end", "high", "measure"),
    ]


def declared_suite(trait: Trait) -> list[Expected]:
    """The trait's own expectations."""
    return [
        Expected(name, declared.type, declared.kwargs, severity=declared.severity, expected=declared.description)
        for name, declared in zip(declared_names(trait), trait.gate, strict=True)
    ]


def declared_names(trait: Trait) -> list[str]:
    """Names of the trait's own expectations: that of the type, and a number where another check begins with it."""
    names: list[str] = []
    default = [check.name for check in checks_of(trait)]
    for declared in trait.gate:
        name = declared.type.removeprefix("expect_")
        taken = sum(other.startswith(name) for other in (*default, *names))
        names.append(f"{name}_{taken + 1}" if taken else name)
    return names


def _not_less(name: str, larger: str, smaller: str) -> Expected:
    return Expected(
        name,
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": larger, "column_B": smaller, "or_equal": True, "ignore_row_if": "either_value_is_missing"},
    )
