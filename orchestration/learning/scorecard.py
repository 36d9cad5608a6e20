"""Scorecards: whole points for each bin of each feature, and a probability for each sum of points.

A table of points can be read by a person ("9 points for being active on 8 of 28 days") and joined by SQL on any engine.
The fit follows Siddiqi ("Credit Risk Scorecards", 2006), but for the bins. There are many narrow bins. A ridge on the
steps between them (the first-order difference penalty of Eilers and Marx, "Flexible smoothing with B-splines and
penalties", Statistical Science 11, 1996) keeps the weights of neighbours close to each other, and hardly penalises a
slope over all of them. So little data gives a straight line, and much data any shape. Neighbours that round to the same
points become one bin.

Nothing here reads a warehouse or a clock; the same frame gives the same scorecard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from orchestration.learning.quality import Numbers, group_codes

# At least so many rows of either outcome: 50 suffice to fit, because the ridge keeps the weights close; 30 to test.
LEAST_OF_EACH_TO_FIT, LEAST_OF_EACH_TO_TEST = 50, 30

BIN_COUNTS = (5, 10, 20)  # at most so many bins a feature
LEAST_ROWS_OF_A_BIN = 20
RIDGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # scikit-learn's C: the larger, the freer the weights
SLOPE_SCALE = 10.0  # a column n times as large is penalised 1/n² as much
FOLDS = 5
POINTS_TO_DOUBLE_ODDS = (10, 20, 40, 80)  # from coarse to fine
MOST_AUC_LOST_BY_ROUNDING = 0.0005


@dataclass(frozen=True)
class Bin:
    """Points for a range of one feature.

    Attributes:
        feature: its name.
        low: inclusive; None is without bound.
        high: exclusive; None is without bound.
        is_missing: the bin of missing values, without bounds.
        points: added to the score; 0 is what the average of the rows that it was fitted on has.

    """

    feature: str
    low: float | None
    high: float | None
    is_missing: bool
    points: int


@dataclass(frozen=True)
class Scorecard:
    """Points of every bin, and the probability that each sum of points stands for.

    Attributes:
        bins: for each feature one bin of missing values, and bins that leave no gap between them.
        probabilities: sum of points to probability (three decimals), for every sum that can occur.
        points_to_double_odds: scale of the points.
        ridge: scikit-learn's C, chosen by cross-validation.

    """

    bins: tuple[Bin, ...]
    probabilities: dict[int, float]
    points_to_double_odds: int
    ridge: float

    @property
    def features(self) -> list[str]:
        """Features in the order in which they were given."""
        return list(dict.fromkeys(score_bin.feature for score_bin in self.bins))

    def points(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Points of each row for each feature."""
        return pd.DataFrame({name: self._points_of(name, _values(frame, name)) for name in self.features})

    def score(self, frame: pd.DataFrame) -> Numbers:
        """Sum of points of each row."""
        return self.points(frame).sum(axis="columns").to_numpy()

    def probability(self, frame: pd.DataFrame) -> Numbers:
        """Probability of each row."""
        return np.array([self.probabilities[int(points)] for points in self.score(frame)])

    def _points_of(self, feature: str, values: Numbers) -> np.ndarray:
        own = [candidate for candidate in self.bins if candidate.feature == feature]
        (missing,) = (own_bin.points for own_bin in own if own_bin.is_missing)
        ranges = [own_bin for own_bin in own if not own_bin.is_missing]
        edges = [own_bin.low for own_bin in ranges if own_bin.low is not None]
        found = np.array([own_bin.points for own_bin in ranges])[np.searchsorted(edges, values, side="right")]
        return np.where(np.isnan(values), missing, found)


class Complexity(NamedTuple):
    """How free a scorecard is: bins a feature, and scikit-learn's C of its ridge (larger is freer)."""

    bin_count: int
    ridge: float


def fit_scorecard(frame: pd.DataFrame, happened: Numbers, groups: Sequence[object] | None = None) -> Scorecard:
    """Fits points to what happened.

    Cross-validation chooses how many bins there are and how free their weights are. Probabilities are fitted to rows
    that the points were not fitted to (Platt, "Probabilistic outputs for support vector machines", 1999), so that
    neither is too optimistic.

    Args:
        frame: one numeric column a feature; missing values are allowed.
        happened: 1 or 0 for each row.
        groups: the entity of each row; an entity never lies on both sides of a fold.

    """
    happened = np.asarray(happened, dtype=float)
    entities = group_codes(groups, len(frame))
    folds = list(GroupKFold(n_splits=FOLDS).split(frame, happened, entities))
    all_edges = {
        count: {str(name): _edges(_values(frame, name), count) for name in frame.columns} for count in BIN_COUNTS
    }
    held_out = {
        Complexity(count, ridge): _held_out_log_odds(_design(frame, edges), happened, ridge, folds)
        for count, edges in all_edges.items()
        for ridge in RIDGES
    }
    chosen = _simplest_of_the_best(happened, held_out, entities)
    edges, design = all_edges[chosen.bin_count], _design(frame, all_edges[chosen.bin_count])
    model = _fitted(design, happened, chosen.ridge)
    exact_auc = roc_auc_score(happened, model.decision_function(design))
    for points_to_double_odds in POINTS_TO_DOUBLE_ODDS:
        scale = points_to_double_odds / np.log(2)
        bins = tuple(_bins(frame, edges, model.coef_[0] * scale))
        card = Scorecard(bins, {}, points_to_double_odds, chosen.ridge)
        if roc_auc_score(happened, card.score(frame)) >= exact_auc - MOST_AUC_LOST_BY_ROUNDING:
            break
    # The scale of points is fixed, so the sums of rounded points stand for the same odds as the model's own.
    offset = float(np.mean(model.decision_function(design) - card.score(frame) / scale))
    platt = LogisticRegression(C=np.inf).fit(held_out[chosen].reshape(-1, 1), happened)
    probabilities = {
        points: float(np.clip(np.round(expit(_line(platt, points / scale + offset)), 3), 0.001, 0.999))
        for points in _sums(bins)
    }
    return Scorecard(bins, probabilities, points_to_double_odds, chosen.ridge)


def _held_out_log_odds(
    design: np.ndarray, happened: Numbers, ridge: float, folds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Numbers:
    """Log-odds of each row by a model that did not see its entity."""
    log_odds = np.empty(len(happened))
    for seen, unseen in folds:
        log_odds[unseen] = _fitted(design[seen], happened[seen], ridge).decision_function(design[unseen])
    return log_odds


def _simplest_of_the_best(happened: Numbers, held_out: dict[Complexity, Numbers], entities: np.ndarray) -> Complexity:
    """The least free weights, over the most bins, whose loss is within one standard error of the least loss.

    This is the rule of Breiman, Friedman, Olshen and Stone ("Classification and regression trees", 1984). The standard
    error is that of the difference, summed by entity, because rows of one entity are not independent. Shapes that a few
    hundred accounts cannot prove would fail the test.
    """
    # The logarithmic loss of a row, from its log-odds.
    losses = {choice: np.logaddexp(0, np.where(happened == 1, -odds, odds)) for choice, odds in held_out.items()}
    best = min(losses, key=lambda choice: (round(float(losses[choice].mean()), 9), choice))
    for choice in sorted(losses, key=lambda choice: (choice.ridge, -choice.bin_count)):
        more = np.bincount(entities, losses[choice] - losses[best])
        if more.sum() <= np.sqrt(more @ more):
            return choice
    return best


def _values(frame: pd.DataFrame, name: object) -> Numbers:
    return np.asarray(frame[name].to_numpy(dtype=float, na_value=np.nan))


def _edges(values: Numbers, bin_count: int) -> list[float]:
    """Lower bounds of all bins but the first: each bin has about equally many rows, and equal values stay together."""
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    least = max(len(values) / bin_count, LEAST_ROWS_OF_A_BIN)
    edges: list[float] = []
    rows, left = 0, int(counts.sum())
    for value, count in zip(distinct, counts, strict=True):
        if rows >= least and left >= least / 2:
            edges.append(float(value))
            rows = 0
        rows += int(count)
        left -= int(count)
    return edges


def _encoded(values: Numbers, edges: Sequence[float]) -> np.ndarray:
    """A column for each edge (1 from there on), one for the slope and one for missing values.

    Missing values lie at the average of the others, so that they count only by the weight of their own column.
    """
    missing = np.isnan(values)
    steps = (values[:, None] >= np.array(edges)[None, :]).astype(float)
    slope = steps.sum(axis=1, keepdims=True) * (SLOPE_SCALE / max(len(edges), 1))
    columns = np.hstack([steps, slope])
    if missing.any() and not missing.all():
        columns[missing] = columns[~missing].mean(axis=0)
    return np.hstack([columns, missing[:, None].astype(float)])


def _design(frame: pd.DataFrame, edges: dict[str, list[float]]) -> np.ndarray:
    return np.hstack([_encoded(_values(frame, name), own) for name, own in edges.items()])


def _fitted(design: np.ndarray, happened: Numbers, ridge: float) -> LogisticRegression:
    return LogisticRegression(C=ridge, solver="newton-cholesky", max_iter=200).fit(design, happened)


def _bins(frame: pd.DataFrame, edges: dict[str, list[float]], weights: Numbers) -> Iterator[Bin]:
    """Bins of every feature; the average row has 0 points, so that the sign of a bin's points has a meaning."""
    position = 0
    for feature, own_edges in edges.items():
        values = _values(frame, feature)
        own = weights[position : position + len(own_edges) + 2]
        position += len(own_edges) + 2
        average = float((_encoded(values, own_edges) @ own).mean())
        one_of_each = np.array([-np.inf, *own_edges])
        points = np.round(_encoded(one_of_each, own_edges) @ own - average).astype(int).tolist()
        low: float | None = None
        for number, edge in enumerate(own_edges):
            if points[number + 1] != points[number]:
                yield Bin(feature=feature, low=low, high=edge, is_missing=False, points=points[number])
                low = edge
        yield Bin(feature=feature, low=low, high=None, is_missing=False, points=points[-1])
        # A feature that was never missing in the fit counts 0 points for a row where it is missing.
        missing = np.isnan(values)
        unknown = float(_encoded(values, own_edges)[missing][0] @ own) if missing.any() else average
        yield Bin(feature=feature, low=None, high=None, is_missing=True, points=round(unknown - average))


def _sums(bins: Sequence[Bin]) -> range:
    """Every sum of points that can occur."""
    by_feature: dict[str, list[int]] = {}
    for score_bin in bins:
        by_feature.setdefault(score_bin.feature, []).append(score_bin.points)
    return range(sum(map(min, by_feature.values())), sum(map(max, by_feature.values())) + 1)


def _line(platt: LogisticRegression, log_odds: float) -> float:
    return float(platt.intercept_[0] + platt.coef_[0][0] * log_odds)
