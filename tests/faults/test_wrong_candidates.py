"""Some wrong candidates of each kind; `make prove-audit` judges all of them."""

from pathlib import Path

import pytest

from tests.faults.fixture import cached_fixture
from tests.faults.wrong_candidates import judged, smallest_swap, written_home, wrong_candidates

EACH = 6


@pytest.mark.long
def test_wrong_candidates_are_withheld_and_one_swap_of_values_is_caught(tmp_path: Path) -> None:
    fixture = cached_fixture()
    _, project = written_home(fixture, tmp_path / "home")
    some = [wrong for wrong in wrong_candidates() if wrong.trait in fixture.passed][::EACH]
    assert len(some) >= 8
    assert [wrong for wrong in some if judged(project, wrong, [wrong.trait]).verdict != "failed"] == []
    assert smallest_swap(project, "dormant") == 1
