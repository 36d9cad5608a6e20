"""The sample says which events are one session; a gap of half an hour finds the same sessions without asking."""

import re
from pathlib import Path

import pytest

from orchestration.home import Home, Settings
from orchestration.transform.dbt import Project
from tests.conftest import queried
from tests.streams.harness import build

NATIVE = """
    select user_id, count(*), min(occurred_at), max(occurred_at) from (
        select distinct event_id, user_id, session_id, occurred_at from raw.events
    ) group by user_id, session_id order by all
"""
MADE = "select user_id, event_count, started_at, ended_at from sessions.fct_sessions order by all"


def test_the_gap_finds_the_sessions_of_the_sample(sample_home: Home) -> None:
    native = queried(sample_home, NATIVE)
    assert len(native) == 3605
    assert queried(sample_home, MADE) == native
    assert queried(sample_home, "select count(native_session_id) from sessions.fct_sessions") == [(0,)]


@pytest.mark.long
def test_native_ids_give_the_same_sessions(sample_home: Home, project_copy: Path) -> None:
    settings = project_copy / "dbt_project.yml"
    settings.write_text(re.sub(r"session_ids: gap", "session_ids: native", settings.read_text()))
    home = Home(Settings(home=sample_home.root, project=project_copy))
    before = queried(home, MADE)
    build(home, Project(home))
    assert queried(home, MADE) == before
    assert queried(home, "select count(distinct native_session_id) from sessions.fct_sessions") == [(3605,)]
