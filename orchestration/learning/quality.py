"""How well probabilities foretold what happened, and whether that is good enough for a model to be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from sklearn.metrics import brier_score_loss

Numbers = np.ndarray
"""One dimension, doubles."""

# A model must show these out of time before its trait is published: it ranks better than chance explains, and its
# probabilities can be taken at their word.
LEAST_AUC_LOW = 0.55
MOST_CALIBRATION_ERROR = 0.05

CONFIDENCE = 0.95
CALIBRATION_BINS, LEAST_ENTITIES_OF_A_CALIBRATION_BIN = 10, 100


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


class AucInterval(NamedTuple):
    """An AUC with the bounds of its 95% interval."""

    low: float
    auc: float
    high: float


def measure_quality(happened: Numbers, probability: Numbers, groups: Sequence[object] | None = None) -> Quality:
    """How well probabilities foretold what happened; rows of one group are not independent of each other."""
    happened = np.asarray(happened, dtype=float)
    probability = np.asarray(probability, dtype=float)
    interval = auc_interval(happened, probability, groups)
    return Quality(
        rows=len(happened),
        positives=int(happened.sum()),
        auc=round(interval.auc, 4),
        auc_low=round(interval.low, 4),
        auc_high=round(interval.high, 4),
        brier=round(float(brier_score_loss(happened, probability)), 4),
        calibration_error=round(calibration_error(happened, probability, groups), 4),
        top_decile_lift=round(_top_decile_lift(happened, probability), 2),
    )


def auc_interval(happened: Numbers, score: Numbers, groups: Sequence[object] | None = None) -> AucInterval:
    """The AUC and its interval.

    The variance is that of DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988). For rows in groups it is that of
    Obuchowski ("Nonparametric analysis of clustered ROC curve data", Biometrics 53, 1997), which is the same when every
    group has one row. Midranks are as in Sun and Xu (IEEE Signal Processing Letters 21, 2014). The interval is
    symmetric in the log-odds of the AUC, so that it stays between 0 and 1.
    """
    positive = np.asarray(happened) == 1
    positives, negatives = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(score)
    # For each row, the share of the other outcome's rows that it is ranked correctly against.
    correctly = np.empty(len(ranks))
    correctly[positive] = (ranks[positive] - rankdata(np.asarray(score)[positive])) / negatives
    correctly[~positive] = 1 - (ranks[~positive] - rankdata(np.asarray(score)[~positive])) / positives
    auc = float(correctly[positive].mean())
    codes = group_codes(groups, len(ranks))
    above = np.bincount(codes, np.where(positive, correctly - auc, 0.0))
    below = np.bincount(codes, np.where(positive, 0.0, correctly - auc))
    with_positives = len(set(codes[positive].tolist()))
    with_negatives = len(set(codes[~positive].tolist()))
    all_groups = len(above)
    if min(with_positives, with_negatives) < 2:
        return AucInterval(0.0, auc, 1.0)
    if auc in (0.0, 1.0):
        return AucInterval(auc, auc, auc)
    variance = float(
        (above @ above) * with_positives / (with_positives - 1) / positives**2
        + (below @ below) * with_negatives / (with_negatives - 1) / negatives**2
        + 2 * (above @ below) * all_groups / (all_groups - 1) / (positives * negatives)
    )
    reach = norm.ppf((1 + CONFIDENCE) / 2) * max(variance, 0.0) ** 0.5 / (auc * (1 - auc))
    return AucInterval(float(expit(logit(auc) - reach)), auc, float(expit(logit(auc) + reach)))


def calibration_error(happened: Numbers, probability: Numbers, groups: Sequence[object] | None = None) -> float:
    """Expected calibration error: mean difference of probability and share over bins of equally many rows.

    There are ten bins, fewer where a bin would have less than 100 entities: in a smaller bin chance alone makes a
    difference, and further rows of the same entity do not change that. Naeini, Cooper and Hauskrecht, "Obtaining well
    calibrated probabilities using Bayesian binning", 2015.
    """
    order = np.argsort(probability, kind="stable")
    entities = len(np.unique(group_codes(groups, len(order))))
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


def group_codes(groups: Sequence[object] | None, rows: int) -> np.ndarray:
    """A number for each row's group; without groups every row is a group of its own."""
    return np.arange(rows) if groups is None else np.asarray(pd.factorize(np.asarray(groups))[0])
