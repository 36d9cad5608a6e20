"""Training data: which past clocks a score is fitted to, and which it is tested on."""

from datetime import datetime, timedelta

import pandas as pd

from orchestration.learning.training_data import TrainingData


def test_labels_of_the_fit_are_known_before_the_test_begins() -> None:
    clocks = [datetime(2025, 6, 1) - timedelta(days=7 * number) for number in range(12)]
    few = pd.DataFrame({"entity": ["a", "b"], "happened": [1.0, 0.0]})
    data = TrainingData(clocks, horizon=28, time_zone="UTC", frames=dict.fromkeys(clocks, few))
    assert data.test_clocks == clocks[:4]
    assert max(data.fit_clocks) + timedelta(days=28) <= min(data.test_clocks)
    many = pd.concat([few] * 200, ignore_index=True)
    data = TrainingData(clocks, horizon=28, time_zone="UTC", frames=dict.fromkeys(clocks, many))
    assert data.test_clocks == clocks[:1]
    assert data.fit_clocks == clocks[4:]
