"""History: a day that is backfilled is that day as it was, and nothing that was published moves."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import orchestration.pipeline.backfill
from orchestration.errors import UsageError
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.backfill import backfill
from orchestration.pipeline.refresh import write_and_audit
from orchestration.publishing.publish import publish
from orchestration.simulator.bundled import SAMPLE
from orchestration.sync.engine import run_sync
from orchestration.transform.dbt import Project
from tests.cache import cached, copied, parsed_project
from tests.conftest import queried, served

FIRST, LAST = date(2024, 5, 29), date(2024, 5, 31)
SECOND_MIDNIGHT = "2024-05-31"

LEDGER = """
select entity_type, entity_id, trait, old_value, new_value, old_since, as_of from traits.trait_changes
where as_of <= timestamp '2024-06-01' order by all
"""
THRESHOLDS = """
select trait, threshold, value, definition_version, as_of from traits.trait_thresholds
where as_of <= timestamp '2024-06-01' order by all
"""
VALUES = "select * from traits.trait_values order by all"
OfHouse = Callable[[Home], Project]


def refreshed(home: Home, project: Project, as_of: str) -> None:
    """Written, judged and published, without what is measured beside it."""
    write_and_audit(project, as_of=as_of)
    publish(project)


def make_first_day(folder: Path) -> None:
    home = Home(Settings(home=folder / "home"))
    load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
    refreshed(home, parsed_project(home), str(FIRST))


def make_daily(folder: Path) -> None:
    home = copied(cached("first_day", make_first_day) / "home", folder / "home")
    for number in range(1, (LAST - FIRST).days + 1):
        refreshed(home, parsed_project(home), str(FIRST + timedelta(days=number)))


@pytest.fixture
def first_day() -> Path:
    """A home that has seen the first day only; copy it."""
    return cached("first_day", make_first_day) / "home"


@pytest.fixture
def daily(tmp_path: Path) -> Home:
    """A home that was refreshed at the end of each of the days."""
    return copied(cached("daily", make_daily) / "home", tmp_path / "daily")


def history(home: Home) -> tuple[list[Any], list[Any]]:
    return queried(home, LEDGER), queried(home, THRESHOLDS)


@pytest.mark.long
def test_replay_day_by_day_equals_the_days_as_they_were(
    daily: Home, sample_home: Home, sample_project: Project
) -> None:
    backfill(sample_project, FIRST, LAST)
    ledger, thresholds = history(sample_home)
    assert (ledger, thresholds) == history(daily)
    assert {row[-1] for row in ledger} == {datetime(2024, 5, 30), datetime(2024, 5, 31), datetime(2024, 6, 1)}


@pytest.mark.long
def test_hourly_and_daily_refreshing_agree_at_midnight(
    first_day: Path, daily: Home, project_in: OfHouse, tmp_path: Path
) -> None:
    hourly = copied(first_day, tmp_path / "home")
    for instant in ("2024-05-30T07:00:00", "2024-05-30T15:00:00", "2024-05-31T00:00:00"):
        refreshed(hourly, project_in(hourly), instant)
    at_midnight = f"""
        select entity_type, entity_id, trait, arg_max(new_value, (as_of, seq)) as value
        from traits.trait_changes where as_of <= timestamp '{SECOND_MIDNIGHT}' group by all order by all
    """
    assert queried(hourly, at_midnight) == queried(daily, at_midnight)
    thresholds = f"""
        select trait, threshold, arg_max(value, as_of) as value
        from traits.trait_thresholds where as_of <= timestamp '{SECOND_MIDNIGHT}' group by all order by all
    """
    assert queried(hourly, thresholds) == queried(daily, thresholds)


@pytest.mark.long
def test_a_backfill_that_was_killed_goes_on_where_it_was(
    sample_home: Home,
    sample_project: Project,
    published_home: Path,
    project_in: OfHouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = copied(published_home, tmp_path / "whole")
    backfill(project_in(whole), FIRST, LAST)
    real, calls = orchestration.pipeline.backfill.backfill_trait, []

    def killed(connection: Any, trait: Any, clock: datetime, *, publishable: bool) -> int:
        calls.append(trait.name)
        if len(calls) == len(sample_project.catalog.traits) + 5:
            raise KeyboardInterrupt
        return real(connection, trait, clock, publishable=publishable)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(orchestration.pipeline.backfill, "backfill_trait", killed)
        backfill(sample_project, FIRST, LAST)
    assert queried(sample_home, "select distinct as_of from state.backfilled_days") == [(datetime(2024, 5, 30),)]
    assert queried(sample_home, "select count(*) from duckdb_schemas() where schema_name like 'replay%'") == [(0,)]
    report = backfill(sample_project, FIRST, LAST)
    assert {(trait.written, trait.already_backfilled) for trait in report.traits} == {(2, 1)}
    assert history(sample_home) == history(whole)
    again = backfill(sample_project, FIRST, LAST)
    assert {(trait.written, trait.changes) for trait in again.traits} == {(0, 0)}
    assert history(sample_home) == history(whole)


def test_history_is_served_and_never_sent(sample_home: Home, sample_project: Project) -> None:
    catalog = sample_project.catalog
    for sync in catalog.syncs:
        run_sync(sample_home, catalog, sync)
    values = queried(sample_home, VALUES)
    report = backfill(sample_project, FIRST, FIRST, traits=["at_risk", "power_user"])
    assert {trait.trait for trait in report.traits if trait.changes} == {"at_risk", "power_user"}
    assert queried(sample_home, VALUES) == values
    told = served(sample_home, "select trait, cause, build_id from traits.trait_changes where as_of < '2024-06-01'")
    assert set(told) == {(name, "backfill", "backfill-20240530T000000Z") for name in ("at_risk", "power_user")}
    assert [run_sync(sample_home, catalog, sync, dry_run=True).planned for sync in catalog.syncs] == [0] * len(
        catalog.syncs
    )


def test_days_that_are_published_stay_as_they_are(sample_home: Home, sample_project: Project) -> None:
    ledger = queried(sample_home, "select * from traits.trait_changes order by seq")
    with sample_home.connect() as connection:
        connection.execute("update traits.trait_changes set as_of = '2024-05-30' where trait = 'at_risk'")
        ledger = connection.execute("select * from traits.trait_changes where trait = 'at_risk'").fetchall()
    (report,) = backfill(sample_project, FIRST, LAST, traits=["at_risk"]).traits
    assert (report.written, report.already_published) == (0, 3)
    assert queried(sample_home, "select * from traits.trait_changes where trait = 'at_risk'") == ledger


@pytest.mark.long
def test_the_first_publish_goes_on_from_the_history(first_day: Path, project_in: OfHouse, tmp_path: Path) -> None:
    """Who was what before keeps it since then; only what differs from the day before is a change."""
    home = copied(first_day, tmp_path / "home")
    project = project_in(home)
    with home.connect() as connection:
        for table in ("trait_values", "trait_changes", "trait_thresholds", "gate_verdicts", "builds"):
            connection.execute(f"delete from traits.{table}")
    write_and_audit(project, as_of=str(LAST))
    backfill(project, date(2024, 5, 27), date(2024, 5, 30), traits=["at_risk", "dormant"])
    refreshed(home, project, str(LAST))
    changes = "select count(*) from traits.trait_changes where trait in ('at_risk', 'dormant') and cause {}"
    (first_values,) = queried(home, changes.format("!= 'backfill' and old_value is null"))
    (late_comers,) = queried(home, "select count(*) from identity.dim_users where first_seen_at >= '2024-05-31'")
    assert first_values == (2 * late_comers[0],)
    assert queried(
        home,
        """
        with told as (
            select trait, entity_id, arg_max(new_value, (as_of, seq)) as value, arg_max(as_of, (as_of, seq)) as since
            from traits.trait_changes where trait in ('at_risk', 'dormant') group by all
        )
        select count(*) from told left join traits.trait_values as v using (trait, entity_id)
        where v.value is distinct from told.value or v.since is distinct from told.since
        """,
    ) == [(0,)]
    assert queried(
        home, "select count(*) from traits.trait_values where trait = 'dormant' and since < '2024-05-31'"
    ) > [(0,)]


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        (LAST, FIRST, "is after --to"),
        (FIRST, date(2024, 7, 10), "is not over"),
    ],
)
def test_days_that_cannot_be_told_are_refused(
    sample_home: Home, sample_project: Project, first: date, last: date, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        backfill(sample_project, first, last, traits=["at_risk"])


def test_days_before_the_first_event_are_left_out(sample_home: Home, sample_project: Project) -> None:
    ((first,),) = queried(sample_home, "select min(activity_date) from activity.fct_user_activity_daily")
    report = backfill(sample_project, first - timedelta(days=3), first, traits=["dormant"])
    assert (report.before_events, report.traits[0].written) == (3, 1)
