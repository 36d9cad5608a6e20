"""What the measures of a source have in common: their record, what they compare with, and robust statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

WEEKS_COMPARED = 8
DAYS_COMPARED = 28
# With fewer hours of people, what people usually do is unknown.
LEAST_USER_HOURS = 20
DENSITY_SIGMAS = 3.0
SMALLEST_SPREAD = 0.1
_MAD_TO_SIGMA = 1.4826
TOO_LITTLE = "too little history to compare with"


@dataclass(frozen=True)
class Measured:
    """One measure of a source.

    Attributes:
        value: the number that is compared with limits; null when it cannot be measured, which passes.
        observed: what was found, in words.
        behaviours: which behaviours it is about; null for the whole source.

    """

    value: float | None
    observed: str
    behaviours: frozenset[str] | None = None


def sigmas_from_usual(found: float, hours: int, known: Sequence[tuple[float, int]]) -> float:
    """How many standard deviations a rate lies from its median on known days.

    Args:
        found: the rate (a number per person and hour) that is judged.
        hours: hours of people that it is the mean of.
        known: the same two for each known day.

    """
    usual = median(number for number, _ in known)
    spread = max(SMALLEST_SPREAD, robust_spread([(number - usual) * math.sqrt(count) for number, count in known]))
    return (found - usual) * math.sqrt(hours) / spread


def clustering_factor(found: Sequence[int], expected: Sequence[float]) -> float:
    """Variance of counts as a multiple of the variance of independent counts, at least 1."""
    squares = [(count - mean) ** 2 / mean for count, mean in zip(found, expected, strict=True) if mean]
    return max(1.0, sum(squares) / max(1, len(squares)))


def robust_spread(values: Sequence[float]) -> float:
    """Standard deviation, estimated from the median absolute deviation."""
    middle = median(values)
    return _MAD_TO_SIGMA * median(abs(value - middle) for value in values)
