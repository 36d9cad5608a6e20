"""Limits over all workers, on a clock of the test's own."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.destinations._pace import PATIENCE_SECONDS, Pace, Rate, StoppedError


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def pace_of(*rates: Rate) -> tuple[Pace, Clock]:
    clock = Clock()
    return Pace(rates, clock=clock, sleep=clock.sleep), clock


def test_no_limit_no_wait() -> None:
    pace, clock = pace_of()
    for _ in range(1000):
        pace.take()
    assert (clock.now, pace.waited_seconds) == (1000.0, 0.0)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.sampled_from([0.5, 1.0, 3.0])), min_size=1, max_size=3),
    st.lists(st.sampled_from([0.0, 0.01, 0.3, 1.0]), min_size=1, max_size=60),
)
def test_no_window_ever_holds_more_than_the_limit(limits: list[tuple[int, float]], idle: list[float]) -> None:
    pace, clock = pace_of(*(Rate(calls, seconds) for calls, seconds in limits))
    taken = []
    for seconds in idle:
        clock.now += seconds
        pace.take()
        taken.append(clock.now)
    for calls, seconds in limits:
        for place, first in enumerate(taken):
            window = [moment for moment in taken[place:] if moment < first + seconds - 1e-6]
            assert len(window) <= calls


def test_what_a_limit_allows_is_used_but_for_the_margin() -> None:
    pace, clock = pace_of(Rate(190, 10.0))
    for _ in range(1901):
        pace.take()
    assert clock.now == pytest.approx(1101.0)
    assert pace.waited_seconds == pytest.approx(101.0)


def test_a_pause_holds_every_worker_and_the_longest_one_counts() -> None:
    pace, clock = pace_of()
    pace.pause(5)
    pace.pause(2)
    pace.take()
    assert clock.now == 1005.0
    pace.take()
    assert clock.now == 1005.0


def test_who_asks_for_a_day_is_not_waited_for() -> None:
    pace, clock = pace_of()
    pace.pause(86_400)
    pace.take()
    assert clock.now == 1000.0
    pace.backoff(86_400)
    assert clock.now == 1000.0 + PATIENCE_SECONDS


def test_workers_share_limit_and_waits_at_once_count_once() -> None:
    pace = Pace([Rate(2, 0.2)])
    begun, times = time.monotonic(), []

    def work() -> None:
        for _ in range(2):
            pace.take()
            times.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 8
    assert max(times) - begun >= 0.6 - 0.001
    # Four threads waited; what they waited at the same time is told once.
    assert 0.5 < pace.waited_seconds <= max(times) - begun + 0.05


def test_a_stop_ends_a_wait_and_forbids_calls() -> None:
    pace = Pace()
    pace.pause(600)
    ended: list[str] = []

    def work() -> None:
        try:
            pace.take()
        except StoppedError:
            ended.append("stopped")

    thread = threading.Thread(target=work)
    thread.start()
    pace.stop()
    thread.join(5)
    assert ended == ["stopped"]
    with pytest.raises(StoppedError):
        pace.take()
    with pytest.raises(StoppedError):
        pace.backoff(0.1)
