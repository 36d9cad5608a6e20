"""Answers that no vendor documents, a sample of them; the proof gives a hundred thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.answers import ALL_NAMES, JOBS, attacked, wrong


@pytest.mark.long
@pytest.mark.parametrize("name", ALL_NAMES)
def test_no_answer_but_a_documented_one_acknowledges_and_none_breaks_a_destination(name: str, tmp_path: Path) -> None:
    with attacked(name, tmp_path) as run:
        trials = [run(seed) for seed in range(40 if name == JOBS else 400)]
    assert [(trial.seed, trial.changed, said) for trial in trials if (said := wrong(trial))] == []
    assert sum(bool(trial.changed) for trial in trials) > len(trials) / 4
    assert any(trial.acknowledged for trial in trials)
