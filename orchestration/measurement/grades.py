"""The grade of a trait: what it may be used for, by how steady it is and what its lift is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from orchestration.declarations.traits import Trait
from orchestration.measurement.ledger_window import REPEATED
from orchestration.measurement.lift import RiskRatio

LEAST_DAYS = 14


@dataclass(frozen=True)
class Limits:
    """What a grade asks for.

    Attributes:
        flip_rate: at most; share of the population a day.
        repeat_flip_share: at most; share of members that flip three times or more in 28 days.
        median_dwell_days: at least.
        prevalence_drift: at most, up or down; percentage points.
        proven: whether the interval of the lift has to exclude 1; else the lift alone has to be above 1.

    """

    flip_rate: float
    repeat_flip_share: float
    median_dwell_days: float
    prevalence_drift: float
    proven: bool


LIMITS = {
    "A": Limits(flip_rate=0.006, repeat_flip_share=0.02, median_dwell_days=7, prevalence_drift=5, proven=True),
    "B": Limits(flip_rate=0.012, repeat_flip_share=0.04, median_dwell_days=3.5, prevalence_drift=10, proven=False),
}
"""A: a product may act on the trait by itself. B: a person may, knowing that it moves. C, all others: read only.

The limits are our choice, not a finding: at 0.6 % a day a tenth of the population has changed after 17 days, and a
weekly message is not contradicted within its week. B is twice as loose. Below 14 days of history there is no grade.
"""


@dataclass(frozen=True)
class Stability:
    """One trait over the window; null where nothing could be measured."""

    days: int
    flip_rate: float | None = None
    member_flip_rate: float | None = None
    repeat_flip_share: float | None = None
    median_dwell_days: float | None = None
    prevalence_drift: float | None = None


class Graded(NamedTuple):
    """A grade (none where there can be none), and what keeps the trait from the next better grade."""

    grade: str | None
    reason: str


def graded(trait: Trait, stability: Stability, lift: RiskRatio | None) -> Graded:
    """Grades a trait; a number gets no grade, because its values are read and not entered, nor does a short history."""
    if trait.type == "number":
        return Graded(None, "A number is read, not entered.")
    if stability.days < LEAST_DAYS:
        return Graded(None, f"{stability.days} days of history, {LEAST_DAYS} are needed.")
    if stability.flip_rate is None or stability.prevalence_drift is None:
        return Graded(None, "No value to measure.")
    kept_from = ""
    for grade, limits in LIMITS.items():
        broken = [*_too_restless(stability, limits), *_worth_too_little(lift, limits)]
        if not broken:
            return Graded(grade, kept_from)
        kept_from = f"Not {grade}: {', '.join(broken)}."
    return Graded("C", kept_from)


def _too_restless(stability: Stability, limits: Limits) -> Iterable[str]:
    if (stability.flip_rate or 0) > limits.flip_rate:
        yield f"{stability.flip_rate:.2%} flip a day (limit {limits.flip_rate:.1%})"
    if (stability.repeat_flip_share or 0) > limits.repeat_flip_share:
        share, limit = stability.repeat_flip_share, limits.repeat_flip_share
        yield f"{share:.1%} of members flip {REPEATED} times or more (limit {limit:.0%})"
    if stability.median_dwell_days is None:
        yield "nobody has had it"
    elif stability.median_dwell_days < limits.median_dwell_days:
        yield f"half leave within {stability.median_dwell_days:g} days (limit {limits.median_dwell_days:g})"
    if abs(stability.prevalence_drift or 0) > limits.prevalence_drift:
        yield f"prevalence moved {stability.prevalence_drift:+.1f} points (limit {limits.prevalence_drift:g})"


def _worth_too_little(lift: RiskRatio | None, limits: Limits) -> Iterable[str]:
    """A trait that has no lift yet is judged by its steadiness alone."""
    if lift is None:
        return
    if limits.proven and not (lift.low is not None and lift.low > 1):
        yield "its lift is unproven"
    elif lift.ratio is not None and lift.ratio <= 1:
        yield f"its lift is {lift.ratio:.2f}"
