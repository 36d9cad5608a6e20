"""Two weeks of ordinary days; `make prove-alarms` replays ninety."""

import pytest

from orchestration.transform.dbt import Project
from tests.faults.alarms import DROPS, LEAST_CAUGHT, Alarms, replayed

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def alarms(tmp_path_factory: pytest.TempPathFactory, project: Project) -> Alarms:
    return replayed(tmp_path_factory.mktemp("alarms"), project, 14, 60, lambda _: None)


def test_ordinary_days_withhold_nothing(alarms: Alarms) -> None:
    assert sum(alarms.judged.values()) >= 60
    assert alarms.false == []


def test_a_population_that_drops_by_a_quarter_or_half_is_withheld_the_same_day(alarms: Alarms) -> None:
    assert min(alarms.dropped.values()) >= 8
    assert min(alarms.caught_share(percent) for percent in DROPS) >= LEAST_CAUGHT, alarms.missed
