"""Incremental equals full refresh, row for row, and a build that was cut off is made good."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from orchestration.errors import UsageError
from orchestration.landing.load import load
from orchestration.project import PROJECT_ROOT, House, Settings
from orchestration.publishing.state import copy_prior_state
from orchestration.warehouse.build import Build, begin_build, run_build
from orchestration.warehouse.dbt import DbtProject
from tests.conftest import queried

START = datetime(2025, 3, 1)
# Every relation up to the features; touched_users is what a build did, not what it made.
COMPARED = {
    "events.fct_events": "* exclude (loaded_at, load_id)",
    "events.quarantined_events": "* exclude (loaded_at, load_id)",
    "identity.identity_nodes": "*",
    "identity.dim_users": "*",
    "sessions.fct_sessions": "*",
    "activity.fct_user_activity_daily": "*",
    "features.user_rhythm": "*",
    "features.population_activity": "*",
    "features.user_features": "*",
}

# Minutes around what is hard: the gap of exactly 30 minutes, its neighbours, midnight, and far days.
HARD_MINUTES = [0, 30, 31, 60, 61, 1439, 1440, 1441, 1470, 2880, 60 * 24 * 40]
NAMES = ["product_view", "shipping_details", "purchase", "payment_error", "unknown"]


def random_moment(random: Random) -> datetime:
    minute = random.choice(HARD_MINUTES) if random.random() < 0.4 else random.randrange(3 * 24 * 60)
    return START + timedelta(minutes=minute)


def random_event(random: Random, stream: int) -> dict[str, Any]:
    """An event of a few users and ids, so that streams are full of repetitions, re-owned ids and same instants."""
    return {
        "event_id": f"{stream}-e{random.randrange(30)}",
        "user_id": random.choice([f"{stream}-u1", f"{stream}-u2", f"{stream}-u3", None]),
        "anonymous_id": random.choice([f"{stream}-a1", f"{stream}-a2"]),
        "event_name": random.choice(NAMES),
        "occurred_at": random_moment(random),
        "received_at": random_moment(random) if random.random() < 0.5 else None,
    }


def build(house: House, project: DbtProject, **given: Any) -> Build:
    made = begin_build(house, project, **({"as_of": None, "full_refresh": False} | given))
    with house.connect() as connection:
        copy_prior_state(connection, made.as_of)
    results = run_build(house, project, made)
    assert [result for result in results if not result.ok] == []
    return made


def written(folder: Path, events: list[dict[str, Any]]) -> Path:
    path = folder / f"{uuid4().hex}.ndjson"
    path.write_text("".join(json.dumps(event, default=str) + "\n" for event in events))
    return path


def differing(house: House, other: House) -> dict[str, int]:
    with house.connect() as connection:
        connection.execute(f"attach '{other.warehouse}' as other (read_only)")
        counts = {}
        for table, columns in COMPARED.items():
            mine, theirs = f"select {columns} from {table}", f"select {columns} from other.{table}"
            row = connection.execute(
                f"select count(*) from (({mine} except all {theirs}) union all ({theirs} except all {mine}))"
            ).fetchone()
            counts[table] = row[0] if row else -1
        connection.execute("detach other")
    return {table: count for table, count in counts.items() if count}


@settings(max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_incremental_equals_full_refresh_on_random_streams(
    tmp_path_factory: pytest.TempPathFactory, of_house: Callable[[House], DbtProject], seed: int
) -> None:
    """Forty independent streams share each build, in id spaces of their own; events come late, twice, re-owned."""
    random = Random(seed)
    folder = tmp_path_factory.mktemp("streams")
    incremental, full = (House(Settings(home=folder / name)) for name in ("incremental", "full"))
    batches = [
        [random_event(random, stream) for stream in range(40) for _ in range(random.randrange(12))] for _ in range(4)
    ]
    # The clock stands in the middle of the first days, then moves past events that were loaded before it.
    clocks = ["2025-03-02T00:00:00", "2025-03-02T12:00:00", "2025-03-04", "2025-05-01"]
    batches[0].append({"event_id": "first", "user_id": "first", "event_name": "purchase", "occurred_at": START})
    for batch, clock in zip(batches, clocks, strict=True):
        if batch:
            load(incremental, [written(folder, batch)], source="shop")
        made = build(incremental, of_house(incremental), as_of=clock)
    assert not made.full_refresh
    for batch in reversed(batches):
        if batch:
            load(full, [written(folder, batch)], source="shop")
    build(full, of_house(full), as_of=clocks[-1])
    assert differing(incremental, full) == {}


def test_an_event_that_a_later_version_takes_away_leaves_its_user_empty(
    house: House, of_house: Callable[[House], DbtProject], events_file: Callable[..., Path]
) -> None:
    event = {
        "event_id": "e1",
        "event_name": "purchase",
        "occurred_at": START,
        "received_at": START + timedelta(hours=2),
    }
    load(house, [events_file([event | {"user_id": "loser"}])], source="shop")
    build(house, of_house(house))
    load(house, [events_file([event | {"user_id": "winner", "received_at": START}])], source="shop")
    made = build(house, of_house(house))
    assert not made.full_refresh
    assert queried(house, "select user_id from sessions.fct_sessions") == [("winner",)]
    assert queried(house, "select user_id from features.user_features") == [("winner",)]


def test_a_build_that_was_cut_off_is_made_good_by_the_next(
    house: House, tmp_path: Path, of_house: Callable[[House], DbtProject], events_file: Callable[..., Path]
) -> None:
    events = [
        {"user_id": f"u{n % 3}", "event_name": "purchase", "occurred_at": START + timedelta(hours=n)} for n in range(60)
    ]
    load(house, [events_file(events[:30])], source="shop")
    build(house, of_house(house))
    load(house, [events_file(events[30:])], source="shop")
    cut_off = begin_build(house, of_house(house), as_of=None, full_refresh=False)
    # Some models ran, the watermark did not move.
    run_build(house, of_house(house), cut_off, select=["fct_events", "touched_users", "fct_sessions"])
    assert queried(house, "select load_id from state.watermark") == [(1,)]
    build(house, of_house(house))
    whole = House(Settings(home=tmp_path / "whole"))
    load(whole, [events_file(events)], source="shop")
    build(whole, of_house(whole))
    assert differing(house, whole) == {}


def test_a_rebuild_that_was_cut_off_leaves_no_watermark_that_is_not_true(
    house: House, of_house: Callable[[House], DbtProject], events_file: Callable[..., Path]
) -> None:
    load(house, [events_file([{"user_id": "u1", "event_name": "x", "occurred_at": START}])])
    project = of_house(house)
    made = build(house, project)
    other = of_house(house)
    other.__dict__["variables"] = project.variables | {"session_gap_minutes": 5}
    run_build(house, other, begin_build(house, other, as_of=None, full_refresh=False), select=["fct_sessions"])
    assert queried(house, "from state.watermark") == []
    back = begin_build(house, project, as_of=None, full_refresh=False)
    assert (made.full_refresh, back.full_refresh) == (True, True)


def test_a_run_by_hand_makes_the_next_refresh_rebuild(
    house: House, of_house: Callable[[House], DbtProject], events_file: Callable[..., Path]
) -> None:
    load(house, [events_file([{"user_id": "u1", "event_name": "x", "occurred_at": START}])])
    project = of_house(house)
    build(house, project)
    assert not begin_build(house, project, as_of=None, full_refresh=False).full_refresh
    command = [
        Path(sys.executable).with_name("dbt"),
        "build",
        "--select",
        "catalog_rules",
        "--project-dir",
        PROJECT_ROOT,
    ]
    command += ["--profiles-dir", PROJECT_ROOT, "--target-path", house.root / "by_hand", "--log-path", house.root]
    environment = {**os.environ, "TRAITHOUSE_HOME": str(house.root)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert begin_build(house, project, as_of=None, full_refresh=False).full_refresh


def test_a_part_cannot_be_built_at_another_clock(house: House, project: DbtProject) -> None:
    with pytest.raises(UsageError, match="at another clock"):
        begin_build(house, project, as_of="2025-01-01", full_refresh=False, partial=True)


def test_only_touched_users_are_made_anew(
    house: House, of_house: Callable[[House], DbtProject], events_file: Callable[..., Path]
) -> None:
    day = {"event_name": "purchase", "occurred_at": START}
    load(house, [events_file([day | {"user_id": f"u{n}"} for n in range(50)])], source="shop")
    build(house, of_house(house))
    load(house, [events_file([day | {"user_id": "u7", "occurred_at": START + timedelta(hours=1)}])], source="shop")
    build(house, of_house(house))
    assert queried(house, "select user_id from identity.touched_users") == [("u7",)]


def test_a_changed_definition_rebuilds_everything(
    house: House, of_house: Callable[[House], DbtProject], events_file: Callable[..., Path]
) -> None:
    load(house, [events_file([{"user_id": "u1", "event_name": "x", "occurred_at": START}])])
    project = of_house(house)
    build(house, project)
    assert not build(house, project).full_refresh
    project.__dict__["variables"] = project.variables | {"session_gap_minutes": 5}
    assert begin_build(house, project, as_of=None, full_refresh=False).full_refresh


def test_the_shop_sample_has_its_true_sessions(sample_house: House) -> None:
    """The native session_id is the truth; sessions are made without it."""
    assert queried(sample_house, "select count(*) from sessions.fct_sessions") == [(3_605,)]
    mixed = queried(
        sample_house,
        """
        with placed as (
            select e.native_session_id, s.session_id
            from events.fct_events as e
            join sessions.fct_sessions as s
                on e.user_id = s.user_id and e.occurred_at between s.started_at and s.ended_at
        )
        select count(distinct native_session_id), count(distinct session_id),
            count(distinct native_session_id || session_id)
        from placed
        """,
    )
    assert mixed == [(3_605, 3_605, 3_605)]


def test_days_begin_at_midnight_of_the_reporting_time_zone(
    tmp_path: Path, project_copy: Path, events_file: Callable[..., Path]
) -> None:
    settings_file = project_copy / "dbt_project.yml"
    text = settings_file.read_text()
    settings_file.write_text(text.replace("reporting_time_zone: UTC ", "reporting_time_zone: Europe/Berlin "))
    house = House(Settings(home=tmp_path / "home", project=project_copy))
    moments = ["2024-06-01T21:59:00Z", "2024-06-01T22:00:00Z", "2024-06-02T21:59:59Z", "2024-06-02T22:00:00Z"]
    load(house, [events_file({"user_id": "u1", "event_name": "x", "occurred_at": moment} for moment in moments)])
    build(house, DbtProject(house), as_of="2024-06-02")
    days = "select activity_date::varchar, event_count from activity.fct_user_activity_daily order by 1"
    assert queried(house, days) == [("2024-06-01", 1), ("2024-06-02", 2)]
    features = "select as_of::varchar, events_7d, active_days_7d, silent_days from features.user_features"
    assert queried(house, features) == [("2024-06-02 22:00:00", 3, 2, 0)]
