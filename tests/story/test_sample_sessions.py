"""The sample says which events are one session; a gap of half an hour finds the same sessions without asking."""

import re
from pathlib import Path

from orchestration.home import House, Settings
from orchestration.transform.dbt import DbtProject
from tests.conftest import queried
from tests.streams.harness import build

TOLD = """
    select user_id, count(*), min(occurred_at), max(occurred_at) from (
        select distinct event_id, user_id, session_id, occurred_at from raw.events
    ) group by user_id, session_id order by all
"""
MADE = "select user_id, event_count, started_at, ended_at from sessions.fct_sessions order by all"


def test_the_gap_finds_the_sessions_of_the_sample(sample_house: House) -> None:
    told = queried(sample_house, TOLD)
    assert len(told) == 3605
    assert queried(sample_house, MADE) == told
    assert queried(sample_house, "select count(native_session_id) from sessions.fct_sessions") == [(0,)]


def test_native_ids_give_the_same_sessions(sample_house: House, project_copy: Path) -> None:
    settings = project_copy / "dbt_project.yml"
    settings.write_text(re.sub(r"session_ids: gap", "session_ids: native", settings.read_text()))
    house = House(Settings(home=sample_house.root, project=project_copy))
    before = queried(house, MADE)
    build(house, DbtProject(house))
    assert queried(house, MADE) == before
    assert queried(house, "select count(distinct native_session_id) from sessions.fct_sessions") == [(3605,)]
