"""Quality of probabilities: intervals of an AUC, calibration error."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from orchestration.learning.quality import auc_interval, calibration_error


def test_the_interval_of_an_auc_is_that_of_delong() -> None:
    """Variance computed here by its definition, pair by pair."""
    random = np.random.default_rng(5)
    happened = (random.random(120) < 0.4).astype(float)
    score = np.round(happened * 0.7 + random.normal(size=120), 1)
    ours = auc_interval(happened, score)
    yes, no = score[happened == 1], score[happened == 0]
    kernel = (yes[:, None] > no[None, :]) + 0.5 * (yes[:, None] == no[None, :])
    variance = kernel.mean(axis=1).var(ddof=1) / len(yes) + kernel.mean(axis=0).var(ddof=1) / len(no)
    auc = roc_auc_score(happened, score)
    reach = 1.959964 * variance**0.5 / (auc * (1 - auc))
    odds = np.log(auc / (1 - auc))
    assert ours == pytest.approx((expit(odds - reach), auc, expit(odds + reach)))


def test_rows_that_repeat_an_entity_do_not_narrow_the_interval() -> None:
    random = np.random.default_rng(6)
    happened = (random.random(100) < 0.5).astype(float)
    score = happened + random.normal(size=100)
    once = auc_interval(happened, score)
    repeated = auc_interval(np.tile(happened, 4), np.tile(score, 4), np.tile(np.arange(100), 4).tolist())
    assert repeated == pytest.approx(once, abs=0.002)


def test_calibration_error_by_hand() -> None:
    happened = np.concatenate([np.repeat([1.0, 0.0], [30, 70]), np.repeat([1.0, 0.0], [80, 20])])
    probability = np.repeat([0.2, 0.7], [100, 100])
    assert calibration_error(happened, probability) == pytest.approx(0.1)
