"""Bounds beside the measures of a candidate: learned from what was published, or fixed; nothing is compared here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from orchestration.declarations.traits import Trait
from orchestration.gates.candidate_checks import HIGH, LOW, population_counts
from orchestration.gates.interval import LearnedInterval, most_flips, usual_rows, usual_share, usual_size
from orchestration.published.history import PublishedPast

# Without enough history, a larger share that changes at once is a fault and not news.
MOST_FLIPS_WITHOUT_HISTORY = 0.5
# Share of those published that may be gone without a reason, and of members of whom another trait says the contrary.
MOST_VANISHED = MOST_CONTRADICTIONS = 0.001
# Among fewer scores, chance decides on order and shares.
LEAST_RANKED = 30
# Agreement of ranks from one day to the next; 0 is that of chance.
LEAST_AGREEMENT = 0.3
# A later comparison tells little: everybody's activity has moved on.
LAST_COMPARABLE_DAY = 7
FACTOR = 0.03
# All scores together, from one day to the next.
TOTAL_FACTOR = 1.5
# Share of the squares of all scores that one factor leaves unexplained.
MOST_RESIDUAL = 1e-4
SHARE_MOVE = 0.1
# A threshold is a smoothed quantile, or counts a window that most days share with the day before.
THRESHOLD_MOVE = 0.15
_OVER_KNOWN_MOVES = 1.5


@dataclass(frozen=True)
class Circumstances:
    """What the bounds of a trait depend on, besides its candidate.

    Attributes:
        past: what was published of the trait.
        hours_allowed: how old the newest event may be at as_of.
        hours_behind: how old it is.
        thresholds: the row of its thresholds; empty without one.
        published_thresholds: values published of each, oldest first, of the definition that is declared.

    """

    past: PublishedPast
    hours_allowed: float
    hours_behind: float
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    published_thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def is_same_model(self) -> bool:
        """Whether scores may be compared with those published: no model was fitted since."""
        now, past = self.thresholds.get("model_version"), self.published_thresholds.get("model_version", ())
        return now is None or (bool(past) and past[-1] == now)


def with_bounds(trait: Trait, measured: Mapping[str, Any], given: Circumstances) -> dict[str, Any]:
    """The measures that the suite compares, each with its bounds."""
    row = dict(measured)
    _bound(row, "freshness", given.hours_behind, high=given.hours_allowed)
    if trait.thresholds:
        _bound(row, "thresholds", row["thresholds"], high=0)
    _add_counts(row, trait, given)
    _add_thresholds(row, trait, given)
    if given.is_same_model:
        _add_scores(row, trait, given)
    if trait.monotone and row["follower_count"] >= LEAST_RANKED:
        followed = [_number(row[f"follows_{name}"]) for name in trait.monotone]
        _bound(row, "score_monotone", min((known for known in followed if known is not None), default=None), low=0.0)
    return row


def _add_counts(row: dict[str, Any], trait: Trait, given: Circumstances) -> None:
    past, population = given.past, row["population"]
    # What is published now is what the last publish had, and counts as today's definition of who counts has it.
    usual = usual_rows((*past.populations[:-1], past.rows or (past.populations or (0,))[-1]), days=past.days)
    _bound(row, "population", population, usual.low or 1, usual.high)
    row["population_low"] = round(row["population_low"])
    row["population_high"] = None if usual.high is None else round(usual.high)
    most = most_flips(past.flips, past.populations, past.rows, days=past.days) or MOST_FLIPS_WITHOUT_HISTORY
    _bound(row, "flips", row["flipped"] / population if population else None, high=most)
    _bound(row, "vanished", row["vanished"], high=max(1, int(MOST_VANISHED * past.rows)))
    _bound(row, "vanished_groups", row["vanished_groups"], high=0)
    if trait.type == "boolean":
        share: LearnedInterval = usual_share(past.shares, past.flips, past.rows, days=past.days)
        _bound(row, "prevalence", row["members"] / population if population else None, share.low, share.high)


def _add_scores(row: dict[str, Any], trait: Trait, given: Circumstances) -> None:
    past, days = given.past, max(1.0, given.past.days)
    for name, sizes in (("score_median", past.medians), ("score_p95", past.p95s)):
        usual = usual_size(sizes, row["scores"], days=past.days)
        _bound(row, name, row[name], usual.low, usual.high)
    known, compared = row["published"], row["scores_in_both"]
    if known >= LEAST_RANKED:
        was, width = row["old_nulls"] / known, SHARE_MOVE * days
        _bound(row, "score_nulls", row["nulls"] / known, was - width, was + width)
    if compared < LEAST_RANKED or days > LAST_COMPARABLE_DAY:
        return
    _bound(row, "score_sign", row["negative"] / compared, high=row["old_negative"] / compared + SHARE_MOVE * days)
    # Ranks of a score that is 0 for nearly all are chance.
    if row["ranked_count"] >= LEAST_RANKED and row["old_spread"]:
        _bound(row, "score_rank", _number(row["rank_agreement"]) or 0.0, low=LEAST_AGREEMENT / days)
        total = row["new_total"] / row["old_total"] if row["old_total"] else None
        _bound(row, "score_total", total, 1 / (TOTAL_FACTOR * days), TOTAL_FACTOR * days)
        faded = 0.5 ** (days / trait.half_life_days) if trait.half_life_days else 1.0
        _bound(row, "score_factor", _common_factor(row), faded - FACTOR * days, 1 + FACTOR * days)


def _common_factor(row: Mapping[str, Any]) -> float | None:
    """The factor between all scores and those published; null when they moved by factors of their own."""
    new, old, products = (row[name] for name in ("new_squares", "old_squares", "products"))
    if not new or not old or 1 - products * products / (new * old) > MOST_RESIDUAL:
        return None
    return float(products / old)


def _add_thresholds(row: dict[str, Any], trait: Trait, given: Circumstances) -> None:
    counts = population_counts(trait)
    if counts and not row["unjudged"]:
        due = row["due_population"]
        _bound(row, "thresholds_population", given.thresholds.get(counts[0]), 0.9 * due - 5, 1.1 * due + 5)
    moves = {}
    for column in trait.thresholds:
        past, now = given.published_thresholds.get(column.name, ()), given.thresholds.get(column.name)
        if column.name in (*counts, "model_version") or not past or not isinstance(now, int | float):
            continue
        steps = [abs(later - earlier) for earlier, later in pairwise(past)]
        unit = 1.0 if column.type == "bigint" else 2 * 10.0**-column.digits
        usual = max(THRESHOLD_MOVE * abs(past[-1]), unit, _OVER_KNOWN_MOVES * max(steps, default=0.0))
        moves[column.name] = abs(now - past[-1]) / (usual * max(1.0, given.past.days))
    if given.is_same_model and moves:
        _bound(row, "thresholds_move", max(moves.values()), high=1.0)
        row["moved_threshold"] = max(moves, key=lambda name: moves[name])


def _bound(row: dict[str, Any], name: str, value: Any, low: float | None = None, high: float | None = None) -> None:
    row |= {name: value, name + LOW: low, name + HIGH: high}


def _number(value: float | None) -> float | None:
    """The number; null where it is not one."""
    return None if value is None or value != value else value
