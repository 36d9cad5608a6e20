"""Incremental equals full refresh equals the oracle, row for row, on random streams and on every example of a bug."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.home import Home, Settings
from orchestration.transform.dbt import Project
from tests.streams.trial import Trial, other_settings, trial


def report_of(made: Trial) -> str:
    return "\n".join([f"{made.streams} streams, {len(made.tables)} tables", *made.report])


@pytest.mark.parametrize(
    ("seed", "count"),
    [(4, 25), pytest.param(1, 200, marks=pytest.mark.long), pytest.param(2, 200, marks=pytest.mark.long)],
)
def test_streams_with_the_project_as_it_is(
    tmp_path: Path, project_in: Callable[[Home], Project], seed: int, count: int
) -> None:
    home = Home(Settings(home=tmp_path / "home"))
    made = trial(home, project_in(home), seed=seed, count=count)
    assert made.right, report_of(made)
    assert len(made.tables) > 20


@pytest.mark.long
def test_a_hundred_streams_with_other_vars(tmp_path: Path, project_copy: Path) -> None:
    """Native session ids, another time zone, few users a device, short sessions, trials and cancellations."""
    other_settings(project_copy)
    home = Home(Settings(home=tmp_path / "home", project=project_copy))
    made = trial(home, Project(home), seed=3, count=100)
    assert made.right, report_of(made)
