"""Leakage: a trait that reads what happens after its clock is caught by a replay with more events after the clock."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.measurement.replay import replay
from orchestration.pipeline.refresh import write_and_audit
from orchestration.transform.dbt import Project
from tests.conftest import queried

CLOCK = datetime(2024, 6, 16)
# What a trait may not do: it reads days of activity without its clock.
LEAKING = """
        case
            when decided.user_id in (
                select days.user_id from {{ ref('fct_user_activity_daily') }} as days
                where days.activity_date > {{ as_of_date() }}
            ) then 1 + decided.score else decided.score
        end
"""


def rows_at_clock(home: Home, project: Project) -> dict[str, list[Any]]:
    """Trait -> rows of its candidate, replayed."""
    with home.lock("test"), closing(replay(project, [CLOCK])) as clocks:
        next(clocks)
        return {
            trait.name: queried(home, f'select * from replay_candidates."{trait.name}" order by all')
            for trait in project.catalog.traits
        }


def leaking(home: Home, project: Project, later: Path) -> set[str]:
    """Traits whose rows at the clock change when events after the clock come."""
    before = rows_at_clock(home, project)
    load(home, [later], source="shop")
    write_and_audit(project)
    after = rows_at_clock(home, project)
    return {name for name, rows in before.items() if rows != after[name]}


@pytest.fixture
def later(events_file: Callable[..., Path]) -> Path:
    """Events of known users a week after the clock, and of users that nobody knows at the clock."""
    names = ("home", "payment_details", "purchase", "payment_error")
    return events_file(
        {"user_id": f"user_{number:04d}", "event_name": name, "occurred_at": f"2024-06-{day}T10:00:00Z"}
        for number in (1, 2, 3, 5, 8, 13, 21, 34, 9001, 9002)
        for name in names
        for day in (17, 23)
    )


@pytest.mark.long
def test_no_trait_knows_what_happens_after_its_clock(sample_home: Home, sample_project: Project, later: Path) -> None:
    assert leaking(sample_home, sample_project, later) == set()


@pytest.mark.long
def test_a_trait_that_reads_later_events_is_caught(sample_home: Home, project_copy: Path, later: Path) -> None:
    model = project_copy / "models" / "traits" / "users" / "power_user.sql"
    sql = model.read_text()
    assert "{{ decided_score() }}" in sql
    model.write_text(sql.replace("{{ decided_score() }}", LEAKING))
    home = Home(Settings(home=sample_home.root, project=project_copy))
    assert leaking(home, Project(home), later) == {"power_user"}
