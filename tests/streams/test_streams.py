"""Incremental equals full refresh equals the oracle, row for row, on random streams and on every example of a bug."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.home import Home, Settings
from orchestration.transform.dbt import Project
from tests.streams.trial import Trial, trial

OTHER_VARS = {
    "session_ids": "native",
    "reporting_time_zone": "America/New_York",
    "shared_device_users": "2",
    "session_max_minutes": "120",
}


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
    settings = project_copy / "dbt_project.yml"
    text = settings.read_text()
    for name, value in OTHER_VARS.items():
        text, count = re.subn(rf"(?m)^  {name}: \S+", f"  {name}: {value}", text)
        assert count == 1, name
    settings.write_text(text)
    # The shop knows neither trial nor cancellation; here some of its events stand for them.
    catalog = project_copy / "seeds" / "event_catalog.csv"
    meanings = catalog.read_text()
    for name, behaviour in {"search": "cancelled", "add_to_cart": "trial_started"}.items():
        meanings, count = re.subn(rf"(?m)^(shop,{name},,,),[a-z_]+,", rf"\1,{behaviour},", meanings)
        assert count == 1, name
    catalog.write_text(meanings)
    home = Home(Settings(home=tmp_path / "home", project=project_copy))
    made = trial(home, Project(home), seed=3, count=100)
    assert made.right, report_of(made)
