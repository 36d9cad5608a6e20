"""Intervals learned from what was published: how far a number may move at once before a person has to look.

Distances are robust: the median absolute deviation times 1.4826, which estimates the standard deviation (Rousseeuw and
Croux, "Alternatives to the Median Absolute Deviation", 1993). So a single odd day neither alarms nor widens the
intervals for weeks. A trend is no alarm: it is removed by the median of all slopes (Theil-Sen; Sen, "Estimates of the
Regression Coefficient Based on Kendall's Tau", 1968).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

LEAST_HISTORY = 7
MOST_HISTORY = 28
Z = 4.0
_TO_DEVIATION = 1.4826
# A multiple of the second largest move in the history: a weekend or the end of a month comes again.
_OVER_KNOWN_MOVES = 2.0
# A person can look at so few changes by name; in a small home chance makes as many, not a fault.
FEW_FLIPS = 12
# Less than 7, the smallest factor between units that are confused (days and weeks); scores hardly move so far in a day.
USUAL_FACTOR = 5.0
# Less than 100, the factor between shares and percentages; a quantile may move so far where there are few.
WIDE_FACTOR = 50.0
LEAST_SCORES = 50


@dataclass(frozen=True)
class LearnedInterval:
    """What is usual; a side that is null has no bound."""

    low: float | None = None
    high: float | None = None

    @property
    def words(self) -> str:
        """For a person."""
        if self.low is None or self.high is None:
            return f"any, as there are fewer than {LEAST_HISTORY} publishes to compare with"
        return f"{self.low:.4g} to {self.high:.4g}"


def usual_share(shares: Sequence[float], moved: Sequence[int], population: int, *, days: float = 1) -> LearnedInterval:
    """Where the share of members lies when nothing has happened.

    Args:
        shares: of the last publishes, oldest first.
        moved: entities whose value changed in each of them.
        population: entities now.
        days: since the last publish; a longer step may be larger.

    """
    if len(shares) < LEAST_HISTORY:
        return LearnedInterval()
    steps = [later - earlier for earlier, later in pairwise(shares)]
    # At best entities enter and leave independently, so a count of changes varies like its square root.
    by_chance = Z * math.sqrt(max(median(moved), 1)) / max(population, 1)
    step = max(Z * _deviation(steps), _OVER_KNOWN_MOVES * _second_largest(steps), by_chance) * math.sqrt(max(days, 1))
    expected, residuals = _trend(shares, days)
    spread = max(Z * _deviation(residuals), by_chance)
    low, high = min(shares[-1] - step, expected - spread), max(shares[-1] + step, expected + spread)
    return LearnedInterval(max(0.0, low), min(1.0, high))


def most_flips(flips: Sequence[int], populations: Sequence[int], population: int, *, days: float = 1) -> float | None:
    """Largest share of entities whose value changes at once when nothing has happened; null without enough history.

    It is never less than a dozen entities: changes come in clusters, as when a failure is repaired.
    """
    if len(flips) < LEAST_HISTORY:
        return None
    shares = [flipped / max(known, 1) for flipped, known in zip(flips, populations, strict=True)]
    by_chance = (median(flips) + Z * math.sqrt(max(median(flips), 1))) / max(population, 1)
    usual = max(
        median(shares) + Z * _deviation(shares),
        _OVER_KNOWN_MOVES * _second_largest(shares),
        by_chance,
        FEW_FLIPS / max(population, 1),
    )
    return min(1.0, usual * max(days, 1))


def usual_rows(populations: Sequence[int], *, days: float = 1) -> LearnedInterval:
    """How many entities there are when nothing has happened: hardly fewer, and not many more at once."""
    last = populations[-1]
    # Few identities are merged at a time.
    low = min(0.9 * last, last - 5)
    if len(populations) < LEAST_HISTORY:
        return LearnedInterval(max(1.0, low))
    growth = [later / max(earlier, 1) - 1 for earlier, later in pairwise(populations)]
    usual = max(0.25, median(growth) + Z * _deviation(growth), _OVER_KNOWN_MOVES * _second_largest(growth))
    return LearnedInterval(max(1.0, low), max(last * (1 + usual * max(days, 1)), last + 20))


def usual_size(sizes: Sequence[float], scores: int, *, days: float = 1) -> LearnedInterval:
    """Which order of magnitude scores have when nothing has happened; unknown before the first publish.

    Args:
        sizes: a quantile of the absolute scores in each of the last publishes, oldest first; above 0.
        scores: how many there are now; among few, each moves a quantile.
        days: since the last publish; a score that counts days may have grown as much.

    """
    logs = [math.log(size) for size in sizes]
    if not logs:
        return LearnedInterval()
    if len(logs) < LEAST_HISTORY or scores < LEAST_SCORES:
        width = math.log(WIDE_FACTOR)
    else:
        steps = [later - earlier for earlier, later in pairwise(logs)]
        width = max(math.log(USUAL_FACTOR), Z * _deviation(steps), _OVER_KNOWN_MOVES * _second_largest(steps))
    width += math.log(max(days, 1))
    # A scale that was waived is usual, and so is the earlier scale while it makes up most of the history.
    last, middle = logs[-1], median(logs)
    return LearnedInterval(math.exp(min(last, middle) - width), math.exp(max(last, middle) + width))


def _deviation(numbers: Sequence[float]) -> float:
    middle = median(numbers)
    return _TO_DEVIATION * median(abs(number - middle) for number in numbers)


def _second_largest(numbers: Sequence[float]) -> float:
    return sorted(map(abs, numbers))[-2]


def _trend(numbers: Sequence[float], ahead: float) -> tuple[float, list[float]]:
    """The value that the trend predicts, and the residual of each number."""
    count = len(numbers)
    slope = median((numbers[b] - numbers[a]) / (b - a) for a in range(count) for b in range(a + 1, count))
    start = median(number - slope * place for place, number in enumerate(numbers))
    residuals = [number - (start + slope * place) for place, number in enumerate(numbers)]
    return start + slope * (count - 1 + ahead), residuals
