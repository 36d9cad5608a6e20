"""A few people with ids of every shape are forgotten; the proof takes two hundred."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.erasure import trial


@pytest.mark.long
def test_nothing_is_left_of_ids_of_every_shape_and_others_stay(tmp_path: Path) -> None:
    found = trial(tmp_path, 20, 1, groups=1)
    assert (found.left, found.lost) == ([], [])
    assert found.before > 100
