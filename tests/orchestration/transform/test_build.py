"""What a build reads, and how the next one repairs one that was cut off; tests/streams proves incremental = full."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from orchestration.errors import UsageError
from orchestration.home import PROJECT_ROOT, Home, Settings
from orchestration.landing.load import load
from orchestration.simulator.bundled import SAMPLE
from orchestration.transform.build import begin_build, run_build
from orchestration.transform.dbt import Project
from tests.conftest import queried
from tests.streams.harness import build, differing, frozen

START = datetime(2025, 3, 1)


@pytest.mark.long
def test_an_event_that_a_later_version_takes_away_leaves_its_user_empty(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    event = {
        "event_id": "e1",
        "event_name": "purchase",
        "occurred_at": START,
        "received_at": START + timedelta(hours=2),
    }
    load(home, [events_file([event | {"user_id": "loser"}])], source="shop")
    build(home, project_in(home))
    load(home, [events_file([event | {"user_id": "winner", "received_at": START}])], source="shop")
    made = build(home, project_in(home))
    assert not made.full_refresh
    assert queried(home, "select user_id from sessions.fct_sessions") == [("winner",)]
    assert queried(home, "select user_id from features.user_features") == [("winner",)]


@pytest.mark.long
def test_a_build_that_was_cut_off_is_repaired_by_the_next(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    events = [
        {"user_id": f"u{n % 3}", "event_name": "purchase", "occurred_at": START + timedelta(hours=n)} for n in range(60)
    ]
    load(home, [events_file(events[:30])], source="shop")
    build(home, project_in(home))
    load(home, [events_file(events[30:])], source="shop")
    cut_off = begin_build(project_in(home), as_of=None, full_refresh=False)
    # Some models ran, the watermark did not move.
    run_build(project_in(home), cut_off, select=["replaced_events", "fct_events", "dirty_users", "fct_sessions"])
    assert queried(home, "select load_id from state.watermark") == [(1,)]
    build(home, project_in(home))
    frozen(home)
    build(home, project_in(home), full_refresh=True)
    assert differing(home) == {}


@pytest.mark.long
def test_a_rebuild_that_was_cut_off_leaves_no_watermark_that_is_not_true(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    load(home, [events_file([{"user_id": "u1", "event_name": "x", "occurred_at": START}])])
    project = project_in(home)
    made = build(home, project)
    other = project_in(home)
    other = other.replace(variables=project.variables | {"session_gap_minutes": 5})
    run_build(other, begin_build(other, as_of=None, full_refresh=False), select=["fct_sessions"])
    assert queried(home, "from state.watermark") == []
    back = begin_build(project, as_of=None, full_refresh=False)
    assert (made.full_refresh, back.full_refresh) == (True, True)


@pytest.mark.long
def test_a_try_at_a_later_clock_that_was_cut_off_leaves_nothing_of_that_clock(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    days = [{"user_id": "u1", "event_name": "purchase", "occurred_at": START + timedelta(days=n)} for n in range(9)]
    load(home, [events_file(days)], source="shop")
    project = project_in(home)
    build(home, project, as_of="2025-03-02")
    later = begin_build(project, as_of="2025-03-08", full_refresh=False)
    models = project.manifest.nodes
    before = models["model.traithouse.population_activity"].raw_code
    models["model.traithouse.population_activity"].raw_code = "select no_such_column"
    try:
        run_build(project, later)
    finally:
        models["model.traithouse.population_activity"].raw_code = before
    assert queried(home, "select event_count from identity.dim_users") == [(8,)]
    build(home, project, as_of="2025-03-04")
    assert queried(home, "select event_count from identity.dim_users") == [(4,)]
    assert queried(home, "select sum(event_count) from activity.fct_user_activity_daily") == [(4,)]


@pytest.mark.long
def test_rows_that_cannot_be_inserted_leave_the_rows_that_they_replace(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    event = {"user_id": "u1", "event_name": "purchase", "occurred_at": START}
    load(home, [events_file([event])], source="shop")
    project = project_in(home)
    build(home, project)
    load(home, [events_file([event | {"occurred_at": START - timedelta(days=1)}])], source="shop")
    replacing = project.manifest.macros["macro.traithouse._added_rows"]
    before = replacing.macro_sql
    broken = "{% if model.name == 'fct_sessions' %}select error('cut off');{% endif %} insert into"
    replacing.macro_sql = before.replace("insert into", broken)
    try:
        results = run_build(project, begin_build(project, as_of=None, full_refresh=False))
    finally:
        replacing.macro_sql = before
    assert [result.name for result in results if result.status == "error"] == ["fct_sessions"]
    assert queried(
        home,
        "select user_id from sessions.dirty_users natural join identity.node_owners natural join ("
        "select node_key as user_key, node_id as user_id from identity.identity_nodes)",
    ) == [("u1",)]
    assert queried(home, "select started_at from sessions.fct_sessions") == [(START,)]


@pytest.mark.long
def test_a_rule_on_a_property_asks_for_the_name_of_the_version_that_won(
    home: Home, project_copy: Path, events_file: Callable[..., Path]
) -> None:
    with (project_copy / "seeds" / "event_catalog.csv").open("a") as catalog:
        catalog.write("shop,checkout,path,prefix,/x,pricing,,,\n")
    project = Project(Home(home.settings.model_copy(update={"project": project_copy})))
    event = {"event_id": "e1", "user_id": "u1", "occurred_at": START, "properties": {"path": "/x"}}
    for hour, name in enumerate(("look", "checkout")):
        received = START + timedelta(hours=hour)
        load(home, [events_file([event | {"event_name": name, "received_at": received}])], source="shop")
        build(home, project)
    assert queried(home, "select event_name, behaviour from events.fct_events") == [("look", "")]
    frozen(home)
    build(home, project, full_refresh=True)
    assert differing(home) == {}


def dbt_build(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("dbt"), "build", *arguments, "--project-dir", PROJECT_ROOT]
    command += ["--profiles-dir", PROJECT_ROOT, "--target-path", home.root / "manual", "--log-path", home.root]
    environment = {**os.environ, "TRAITHOUSE_HOME": str(home.root)}
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


@pytest.mark.long
def test_a_manual_run_makes_the_next_refresh_rebuild(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    load(home, [events_file([{"user_id": "u1", "event_name": "x", "occurred_at": START}])])
    project = project_in(home)
    build(home, project)
    assert not begin_build(project, as_of=None, full_refresh=False).full_refresh
    assert dbt_build(home, "--select", "catalog_rules").returncode == 0
    assert begin_build(project, as_of=None, full_refresh=False).full_refresh


@pytest.mark.long
def test_a_manual_run_may_only_rebuild_incremental_tables(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    load(home, [events_file([{"user_id": "u1", "event_name": "x", "occurred_at": START}])])
    build(home, project_in(home))
    refused = dbt_build(home, "--select", "event_log", "--vars", "{as_of: '2025-03-02 00:00:00'}")
    assert refused.returncode != 0
    assert "add --full-refresh" in refused.stdout
    assert queried(home, "select count(*) from state.watermark") == [(1,)]


def test_a_part_cannot_be_built_at_another_clock(home: Home, project: Project) -> None:
    with pytest.raises(UsageError, match="at another clock"):
        begin_build(project, as_of="2025-01-01", full_refresh=False, partial=True)


@pytest.mark.long
def test_only_touched_users_are_evaluated_again(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    day = {"event_name": "purchase", "occurred_at": START}
    load(home, [events_file([day | {"user_id": f"u{n}"} for n in range(50)])], source="shop")
    build(home, project_in(home))
    load(home, [events_file([day | {"user_id": "u7", "occurred_at": START + timedelta(hours=1)}])], source="shop")
    build(home, project_in(home))
    assert queried(home, "select distinct node_id from identity.node_owners natural join identity.identity_nodes") == [
        ("u7",)
    ]


def test_a_changed_definition_rebuilds_everything(
    home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    load(home, [events_file([{"user_id": "u1", "event_name": "x", "occurred_at": START}])])
    project = project_in(home)
    build(home, project)
    assert not build(home, project).full_refresh
    project = project.replace(variables=project.variables | {"session_gap_minutes": 5})
    assert begin_build(project, as_of=None, full_refresh=False).full_refresh


def test_the_shop_sample_has_its_true_sessions(sample_home: Home) -> None:
    """The native session_id is the truth; sessions are made without it."""
    assert queried(sample_home, "select count(*) from sessions.fct_sessions") == [(3_605,)]
    mixed = queried(
        sample_home,
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


@pytest.mark.long
def test_the_shop_sample_has_the_same_sessions_by_its_native_ids(tmp_path: Path, project_copy: Path) -> None:
    settings_file = project_copy / "dbt_project.yml"
    text = settings_file.read_text()
    assert "  session_ids: gap " in text
    settings_file.write_text(text.replace("  session_ids: gap ", "  session_ids: native "))
    home = Home(Settings(home=tmp_path / "home", project=project_copy))
    load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
    build(home, Project(home))
    counts = "select count(*), count(distinct native_session_id) from sessions.fct_sessions"
    assert queried(home, counts) == [(3_605, 3_605)]


@pytest.mark.long
def test_days_begin_at_midnight_of_the_reporting_time_zone(
    tmp_path: Path, project_copy: Path, events_file: Callable[..., Path]
) -> None:
    settings_file = project_copy / "dbt_project.yml"
    text = settings_file.read_text()
    settings_file.write_text(text.replace("reporting_time_zone: UTC ", "reporting_time_zone: Europe/Berlin "))
    home = Home(Settings(home=tmp_path / "home", project=project_copy))
    moments = ["2024-06-01T21:59:00Z", "2024-06-01T22:00:00Z", "2024-06-02T21:59:59Z", "2024-06-02T22:00:00Z"]
    load(home, [events_file({"user_id": "u1", "event_name": "x", "occurred_at": moment} for moment in moments)])
    build(home, Project(home), as_of="2024-06-02")
    days = "select activity_date::varchar, event_count from activity.fct_user_activity_daily order by 1"
    assert queried(home, days) == [("2024-06-01", 1), ("2024-06-02", 2)]
    features = "select as_of::varchar, events_7d, active_days_7d, silent_days from features.user_features"
    assert queried(home, features) == [("2024-06-02 22:00:00", 3, 2, 0)]


@pytest.mark.long
def test_an_increment_that_needs_more_memory_gets_it(
    sample_home: Home, project_in: Callable[[Home], Project], events_file: Callable[..., Path]
) -> None:
    event = {"event_id": "new", "user_id": "user_0001", "event_name": "purchase", "occurred_at": datetime(2024, 6, 30)}
    load(sample_home, [events_file([event])], source="shop")
    home = Home(Settings(home=sample_home.root, increment_memory_limit="4MB"))
    lines: list[str] = []
    made = begin_build(project_in(home), as_of=None, full_refresh=False)
    results = run_build(project_in(home), made, notify=lines.append)
    assert not made.full_refresh
    assert any(line.startswith("4MB of memory was too little for ") for line in lines)
    assert all(result.ok for result in results)
    assert queried(home, "select event_name from events.fct_events where event_id = 'new'") == [("purchase",)]


def test_the_constraints_of_a_contract_hold(sample_home: Home) -> None:
    with pytest.raises(duckdb.ConstraintException):
        queried(sample_home, "update candidates.power_user set user_id = null")
