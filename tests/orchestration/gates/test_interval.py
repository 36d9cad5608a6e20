"""Learned intervals: quiet on rhythm, growth and chance; loud on a real shift."""

import math
import random

import pytest

from orchestration.gates.interval import (
    LEAST_HISTORY,
    LEAST_SCORES,
    LearnedInterval,
    most_flips,
    usual_rows,
    usual_share,
    usual_size,
)


def ordinary(seed: int, days: int, population: int = 1_300, level: float = 0.1, trend: float = 0.0) -> list[float]:
    """Shares of a population whose members come and go by chance, more of them at weekends."""
    chance = random.Random(seed)
    members, shares = round(level * population), []
    for day in range(days):
        pace = 8 if day % 7 in (5, 6) else 4
        entered, left = (sum(chance.random() < 0.5 for _ in range(2 * pace)) for _ in range(2))
        members = max(0, members + entered - left + round(trend * population))
        shares.append(members / population)
    return shares


@pytest.mark.parametrize("trend", [0.0, 0.002])
def test_ordinary_days_do_not_alarm(trend: float) -> None:
    alarms = judged = 0
    for seed in range(20):
        shares = ordinary(seed, 60, trend=trend)
        for day in range(LEAST_HISTORY, 60):
            usual = usual_share(shares[max(0, day - 28) : day], [8] * 28, 1_300)
            assert usual.low is not None and usual.high is not None
            judged += 1
            alarms += not usual.low <= shares[day] <= usual.high
    assert judged > 1_000
    assert alarms <= judged / 500


def test_a_quarter_of_the_members_gone_at_once_alarms() -> None:
    caught = 0
    for seed in range(100):
        shares = ordinary(seed, 28)
        usual = usual_share(shares, [8] * 28, 1_300)
        assert usual.low is not None
        caught += 0.75 * shares[-1] < usual.low
    assert caught >= 95


def test_little_history_judges_nothing_but_a_collapse() -> None:
    assert usual_share([0.1] * (LEAST_HISTORY - 1), [1] * 6, 100).low is None
    assert most_flips([1] * 6, [100] * 6, 100) is None
    assert usual_rows([1_000]).low == 900
    assert usual_rows([1_000]).high is None
    assert usual_rows([8]).low == 3


def test_one_odd_day_does_not_widen_the_interval() -> None:
    flips = [10] * 20 + [900] + [10] * 7
    assert (most_flips(flips, [1_300] * 28, 1_300) or 1) < 0.05


def test_in_a_small_home_a_dozen_flips_are_chance_and_in_a_large_one_they_widen_nothing() -> None:
    assert (most_flips([0] * 28, [335] * 28, 335) or 0) == pytest.approx(12 / 335)
    assert (most_flips([100] * 28, [100_000] * 28, 100_000) or 1) == pytest.approx(0.002)


def test_a_longer_step_may_be_larger() -> None:
    shares = ordinary(1, 28)
    day, week = (usual_share(shares, [8] * 28, 1_300, days=days) for days in (1, 7))
    assert day.high is not None and week.high is not None
    assert week.high > day.high


def test_scores_alarm_in_another_unit_and_on_no_ordinary_day() -> None:
    """Ordinary scores wander by a third a day and have a weekend, as no published trait's do."""
    alarms = caught = judged = 0
    for seed in range(20):
        chance = random.Random(seed)
        sizes = [20 * math.exp(chance.gauss(0, 0.3)) * (0.6 if day % 7 > 4 else 1) for day in range(60)]
        for day in range(LEAST_HISTORY, 60):
            usual = usual_size(sizes[max(0, day - 28) : day], 1_300)
            assert usual.low is not None and usual.high is not None
            judged += 1
            alarms += not usual.low <= sizes[day] <= usual.high
            caught += not usual.low <= 1_000 * sizes[day] <= usual.high
            caught += not usual.low <= sizes[day] / 1_000 <= usual.high
    assert (alarms, caught) == (0, 2 * judged)


def test_little_history_or_few_scores_judge_only_a_leap_of_the_scale() -> None:
    assert usual_size([], 1_300) == LearnedInterval()
    for usual in (usual_size([2.0], 1_300), usual_size([2.0] * 28, LEAST_SCORES - 1)):
        assert usual.low == pytest.approx(0.04)
        assert usual.high == pytest.approx(100)


def test_a_scale_that_was_waived_is_usual_from_the_next_publish_on() -> None:
    usual = usual_size([2.0] * 20 + [2_000.0], 1_300)
    assert usual.low is not None and usual.high is not None
    assert usual.low < 2.0 < 2_000.0 < usual.high


def test_a_longer_step_of_scores_that_count_days_may_be_larger() -> None:
    day, week = (usual_size([2.0] * 28, 1_300, days=days) for days in (1, 7))
    assert (day.high, week.high) == (pytest.approx(10), pytest.approx(70))
