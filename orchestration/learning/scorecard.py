"""Scorecards: a probability as whole points per bin of each feature, which add up.

A table of points can be read by a person ("9 points for being active on 8 of 28 days") and joined by SQL on any engine.
How it is fitted follows Siddiqi ("Credit Risk Scorecards", 2006), but for the bins: many narrow ones, whose weights are
held close to those of their neighbours by a ridge on the steps between them (the first-order difference penalty of
Eilers and Marx, "Flexible smoothing with B-splines and penalties", Statistical Science 11, 1996), with a slope over all
of them that is hardly held at all. So little data gives a straight rise, much data any shape. Neighbours that round to
the same points become one bin.

Nothing here reads a warehouse or a clock; the same frame gives the same scorecard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import GroupKFold

Numbers = np.ndarray  # one dimension, doubles

# What a model must show out of time before its trait is published: better than a coin by more than chance explains, and
# probabilities that can be taken at their word.
LEAST_AUC_LOW = 0.55
MOST_CALIBRATION_ERROR = 0.05
# Fewer of either outcome tell nothing: 50 to fit, as the weights are held close to each other; 30 to test.
LEAST_OF_EACH_TO_FIT, LEAST_OF_EACH_TO_TEST = 50, 30

CONFIDENCE = 0.95
BIN_COUNTS = (5, 10, 20)  # at most so many bins a feature
LEAST_ROWS_OF_A_BIN = 20
RIDGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # scikit-learn's C: the larger, the freer the weights
SLOPE_SCALE = 10.0  # a column so many times larger is held back so many times less, squared
FOLDS = 5
POINTS_TO_DOUBLE_ODDS = (10, 20, 40, 80)  # from coarse to fine
MOST_AUC_LOST_BY_ROUNDING = 0.0005
CALIBRATION_BINS, LEAST_ENTITIES_OF_A_CALIBRATION_BIN = 10, 100


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
        return list(dict.fromkeys(one.feature for one in self.bins))

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
        own = [one for one in self.bins if one.feature == feature]
        (missing,) = (one.points for one in own if one.is_missing)
        ranges = [one for one in own if not one.is_missing]
        edges = [one.low for one in ranges if one.low is not None]
        found = np.array([one.points for one in ranges])[np.searchsorted(edges, values, side="right")]
        return np.where(np.isnan(values), missing, found)


@dataclass(frozen=True)
class Quality:
    """How well probabilities foretold what happened.

    Attributes:
        rows: how many were tested.
        positives: for how many it happened.
        auc: area under the ROC curve: how often one for whom it happened ranks before one for whom it did not.
        auc_low: lower bound of its 95% interval.
        auc_high: upper bound.
        brier: mean squared difference of probability and outcome.
        calibration_error: mean difference of probability and share, over bins of equally many rows.
        top_decile_lift: share of positives in the tenth with the highest probability, over that of all.

    """

    rows: int
    positives: int
    auc: float
    auc_low: float
    auc_high: float
    brier: float
    calibration_error: float
    top_decile_lift: float

    @property
    def shortfall(self) -> str:
        """Why a model of this quality is not used; empty when it is."""
        if self.auc_low <= LEAST_AUC_LOW:
            return (
                f"out of time its AUC is {self.auc:.3f}, at least {self.auc_low:.3f} with 95% confidence, "
                f"and must surely be above {LEAST_AUC_LOW}"
            )
        if self.calibration_error > MOST_CALIBRATION_ERROR:
            return (
                f"out of time its probabilities are off by {self.calibration_error:.3f} on average, "
                f"and may be off by {MOST_CALIBRATION_ERROR}"
            )
        return ""


def fit_scorecard(frame: pd.DataFrame, happened: Numbers, groups: Sequence[object] | None = None) -> Scorecard:
    """Fits points to what happened.

    How many bins there are and how free their weights is chosen by cross-validation, and probabilities are fitted to
    rows that the points were not (Platt, "Probabilistic outputs for support vector machines", 1999), so neither
    flatters itself.

    Args:
        frame: one numeric column a feature; missing values are allowed.
        happened: 1 or 0 for each row.
        groups: the entity of each row; an entity never lies on both sides of a fold.

    """
    happened = np.asarray(happened, dtype=float)
    entities = _codes(groups, len(frame))
    folds = list(GroupKFold(n_splits=FOLDS).split(frame, happened, entities))
    all_edges = {
        count: {str(name): _edges(_values(frame, name), count) for name in frame.columns} for count in BIN_COUNTS
    }
    held_out = {
        (count, ridge): _held_out_log_odds(_design(frame, edges), happened, ridge, folds)
        for count, edges in all_edges.items()
        for ridge in RIDGES
    }
    count, ridge = _stiffest_of_the_best(happened, held_out, entities)
    edges, design = all_edges[count], _design(frame, all_edges[count])
    model = _fitted(design, happened, ridge)
    exact_auc = roc_auc_score(happened, model.decision_function(design))
    for points_to_double_odds in POINTS_TO_DOUBLE_ODDS:
        scale = points_to_double_odds / np.log(2)
        bins = tuple(_bins(frame, edges, model.coef_[0] * scale))
        card = Scorecard(bins, {}, points_to_double_odds, ridge)
        if roc_auc_score(happened, card.score(frame)) >= exact_auc - MOST_AUC_LOST_BY_ROUNDING:
            break
    # The scale of points is fixed, so the sums of rounded points stand for the same odds as the model's own.
    offset = float(np.mean(model.decision_function(design) - card.score(frame) / scale))
    platt = LogisticRegression(C=np.inf).fit(held_out[count, ridge].reshape(-1, 1), happened)
    probabilities = {
        points: float(np.clip(np.round(expit(_line(platt, points / scale + offset)), 3), 0.001, 0.999))
        for points in _sums(bins)
    }
    return Scorecard(bins, probabilities, points_to_double_odds, ridge)


def _held_out_log_odds(
    design: np.ndarray, happened: Numbers, ridge: float, folds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> Numbers:
    """Log-odds of each row by a model that did not see its entity."""
    log_odds = np.empty(len(happened))
    for seen, unseen in folds:
        log_odds[unseen] = _fitted(design[seen], happened[seen], ridge).decision_function(design[unseen])
    return log_odds


def _stiffest_of_the_best(
    happened: Numbers, held_out: dict[tuple[int, float], Numbers], entities: np.ndarray
) -> tuple[int, float]:
    """Bin count and ridge: the stiffest weights, over the most bins, whose loss is within an error of the least.

    One standard error of the difference, row by row, where rows of one entity are not independent: the rule of Breiman,
    Friedman, Olshen and Stone ("Classification and regression trees", 1984). Shapes that a few hundred accounts cannot
    prove do not last until the test.
    """
    # The logarithmic loss of a row, from its log-odds.
    losses = {choice: np.logaddexp(0, np.where(happened == 1, -odds, odds)) for choice, odds in held_out.items()}
    best = min(losses, key=lambda choice: (round(float(losses[choice].mean()), 9), choice))
    for choice in sorted(losses, key=lambda choice: (choice[1], -choice[0])):
        more = np.bincount(entities, losses[choice] - losses[best])
        if more.sum() <= np.sqrt(more @ more):
            return choice
    return best


def measure_quality(happened: Numbers, probability: Numbers, groups: Sequence[object] | None = None) -> Quality:
    """How well probabilities foretold what happened; rows of one group are not independent of each other."""
    happened = np.asarray(happened, dtype=float)
    probability = np.asarray(probability, dtype=float)
    low, auc, high = auc_interval(happened, probability, groups)
    return Quality(
        rows=len(happened),
        positives=int(happened.sum()),
        auc=round(auc, 4),
        auc_low=round(low, 4),
        auc_high=round(high, 4),
        brier=round(float(brier_score_loss(happened, probability)), 4),
        calibration_error=round(calibration_error(happened, probability, groups), 4),
        top_decile_lift=round(_top_decile_lift(happened, probability), 2),
    )


def auc_interval(
    happened: Numbers, score: Numbers, groups: Sequence[object] | None = None
) -> tuple[float, float, float]:
    """Lower bound, AUC, upper bound, at 95% confidence.

    The variance is that of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), for rows in groups that of
    Obuchowski ("Nonparametric analysis of clustered ROC curve data", Biometrics 53, 1997), which is the same when every
    group has one row; midranks as in Sun and Xu (IEEE Signal Processing Letters 21, 2014). The interval is symmetric in
    the log-odds of the AUC, so that it stays between 0 and 1.
    """
    positive = np.asarray(happened) == 1
    positives, negatives = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(score)
    # Of each row: the share of the other outcome's rows that it is ranked rightly against.
    rightly = np.empty(len(ranks))
    rightly[positive] = (ranks[positive] - rankdata(np.asarray(score)[positive])) / negatives
    rightly[~positive] = 1 - (ranks[~positive] - rankdata(np.asarray(score)[~positive])) / positives
    auc = float(rightly[positive].mean())
    codes = _codes(groups, len(ranks))
    above = np.bincount(codes, np.where(positive, rightly - auc, 0.0))
    below = np.bincount(codes, np.where(positive, 0.0, rightly - auc))
    with_positives = len(set(codes[positive].tolist()))
    with_negatives = len(set(codes[~positive].tolist()))
    all_groups = len(above)
    if min(with_positives, with_negatives) < 2:
        return 0.0, auc, 1.0
    if auc in (0.0, 1.0):
        return auc, auc, auc
    variance = float(
        (above @ above) * with_positives / (with_positives - 1) / positives**2
        + (below @ below) * with_negatives / (with_negatives - 1) / negatives**2
        + 2 * (above @ below) * all_groups / (all_groups - 1) / (positives * negatives)
    )
    reach = norm.ppf((1 + CONFIDENCE) / 2) * max(variance, 0.0) ** 0.5 / (auc * (1 - auc))
    return float(expit(logit(auc) - reach)), auc, float(expit(logit(auc) + reach))


def calibration_error(happened: Numbers, probability: Numbers, groups: Sequence[object] | None = None) -> float:
    """Expected calibration error: mean difference of probability and share over bins of equally many rows.

    Ten bins, fewer where there are less than 100 entities for each: chance alone would make a smaller one differ, and
    the same entity seen again makes it no larger. Naeini, Cooper and Hauskrecht, "Obtaining well calibrated
    probabilities using Bayesian binning", 2015.
    """
    order = np.argsort(probability, kind="stable")
    entities = len(np.unique(_codes(groups, len(order))))
    count = int(np.clip(entities // LEAST_ENTITIES_OF_A_CALIBRATION_BIN, 1, CALIBRATION_BINS))
    differences = [
        abs(float(np.sum(np.asarray(probability)[rows] - np.asarray(happened)[rows])))
        for rows in np.array_split(order, count)
    ]
    return sum(differences) / len(order)


def _top_decile_lift(happened: Numbers, probability: Numbers) -> float:
    """Rows that tie at the cut count in part."""
    wanted = len(happened) / 10
    by_value = (
        pd.DataFrame({"value": probability, "happened": happened}).groupby("value")["happened"].agg(["size", "sum"])
    )
    by_value = by_value.sort_index(ascending=False)
    before = by_value["size"].cumsum() - by_value["size"]
    taken = ((wanted - before) / by_value["size"]).clip(0, 1)
    return float((taken * by_value["sum"]).sum() / wanted / np.mean(happened))


def _codes(groups: Sequence[object] | None, rows: int) -> np.ndarray:
    """A number for each row's group; without groups every row is one."""
    return np.arange(rows) if groups is None else np.asarray(pd.factorize(np.asarray(groups))[0])


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

    Missing values lie at the average of the others, so that without a weight of their own they say nothing.
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
    """Bins of every feature; points are told from the average row, so that 0 is usual and the sign has a meaning."""
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
                yield Bin(feature, low, edge, False, points[number])
                low = edge
        yield Bin(feature, low, None, False, points[-1])
        # A feature that was never missing says nothing of a row where it is.
        missing = np.isnan(values)
        unknown = float(_encoded(values, own_edges)[missing][0] @ own) if missing.any() else average
        yield Bin(feature, None, None, True, round(unknown - average))


def _sums(bins: Sequence[Bin]) -> range:
    """Every sum of points that may occur."""
    by_feature: dict[str, list[int]] = {}
    for one in bins:
        by_feature.setdefault(one.feature, []).append(one.points)
    return range(sum(map(min, by_feature.values())), sum(map(max, by_feature.values())) + 1)


def _line(platt: LogisticRegression, log_odds: float) -> float:
    return float(platt.intercept_[0] + platt.coef_[0][0] * log_odds)
