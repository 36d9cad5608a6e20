"""Answers that no vendor documents, a sample of them; the proof gives a hundred thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.answers import HTTP_NAMES, attacked, wrong


@pytest.mark.long
@pytest.mark.parametrize("name", HTTP_NAMES)
def test_no_answer_but_a_documented_one_acknowledges_and_none_breaks_a_destination(name: str, tmp_path: Path) -> None:
    with attacked(name, tmp_path) as run:
        trials = [run(seed) for seed in range(400)]
    assert [(trial.seed, trial.changed, said) for trial in trials if (said := wrong(trial))] == []
    assert sum(bool(trial.changed) for trial in trials) > 100
    assert any(trial.acknowledged for trial in trials)
