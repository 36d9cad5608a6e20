"""The source checks: real loads and refreshes of synthetic days, ordinary and faulty ones."""

import gzip
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.gates.source_checks import (
    DAY_CHECKS,
    SOURCE_CHECKS,
    judge_measures,
    source_check_names,
)
from orchestration.gates.source_days import COUNTED_TABLES
from orchestration.gates.source_groups import measure_groups
from orchestration.gates.source_history import read_histories
from orchestration.gates.source_measures import measure_day
from orchestration.gates.source_parts import NOTHING_MEASURED
from orchestration.gates.source_statistics import Measured
from orchestration.gates.source_verdicts import SourceVerdict
from orchestration.gates.sources import judge_sources
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.refresh import write_and_audit
from orchestration.simulator.make import make_simulation
from orchestration.simulator.parameters import Parameters
from orchestration.transform.build import current_build
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.cache import cached, copied, parsed_project
from tests.conftest import queried, served

# A Thursday, loaded by itself after ten weeks that were loaded at once; and the day after it, still to come.
DAY = date(2024, 6, 6)
NEXT = DAY + timedelta(days=1)
TODAY = f"occurred_date = date '{DAY}'"
LATER = "set occurred_at = occurred_at + interval 3 hour"


def events_of(folder: Path) -> list[dict[str, Any]]:
    with gzip.open(folder / "events.ndjson.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def stream(watched_home: Path) -> list[dict[str, Any]]:
    """Eleven weeks of a product, in the order in which the events were received."""
    return events_of(watched_home.parent)


def received(stream: list[dict[str, Any]], day: date) -> list[dict[str, Any]]:
    return [event for event in stream if event["received_at"][:10] == str(day)]


def written(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def land(home: Home, path: Path, events: list[dict[str, Any]], day: date) -> None:
    load(home, [written(path, events)], source="sandbox", now=datetime(day.year, day.month, day.day, 23, 59))


def make_watched(folder: Path) -> None:
    """Makes a home with ten weeks published, and a day after them built and audited."""
    make_simulation(Parameters(accounts=120, days=77, seed=5, end=NEXT + timedelta(days=1)), folder)
    stream = events_of(folder)
    home = Home(Settings(home=folder / "home"))
    project = parsed_project(home)
    past = [event for event in stream if event["received_at"][:10] < str(DAY)]
    land(home, folder / "past.ndjson", past, DAY - timedelta(days=1))
    publish_day(project, as_of=str(DAY - timedelta(days=1)))
    land(home, folder / "day.ndjson", received(stream, DAY), DAY)
    publish_day(project, as_of=str(DAY))


@pytest.fixture(scope="session")
def watched_home() -> Path:
    """A home with ten weeks published, and a day after them built and audited; copy it."""
    return cached("watched", make_watched) / "home"


@pytest.fixture
def watched(watched_home: Path, tmp_path: Path) -> Home:
    """A copy of the home with the watched source."""
    return copied(watched_home, tmp_path / "home")


def judged_again(home: Home, project: Project, sql: str) -> SourceVerdict:
    """Changes the events of the newest load, and judges the same build again."""
    with home.connect() as connection:
        connection.execute(sql)
        connection.execute(f"update events.event_log set occurred_date = cast(occurred_at as date) where {TODAY}")
        connection.execute("update state.source_days_counted set load_id = 1")
        build = current_build(connection)
        assert build
        [verdict] = judge_sources(connection, project, build)
    return verdict


def delivered_by(home: Home) -> set[str]:
    """Behaviours, and outcomes of steps, that the source has ever delivered."""
    rows = queried(
        home,
        """
        select d.behaviour, r.outcome from state.source_days as d
        left join events.catalog_rules as r on d.event_name = r.event_name and d.behaviour = r.behaviour
        """,
    )
    return {name for row in rows for name in row if name}


def failed_checks(verdict: SourceVerdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed and check.severity == "critical"}


def test_an_ordinary_day_passes_every_check_and_a_first_load_is_compared_with_nothing(
    watched: Home, project_in: Callable[[Home], Project]
) -> None:
    rows = queried(
        watched, "select verdict, first_day, last_day, loaded_after, loaded_until, touched from state.source_verdicts"
    )
    assert rows == [
        ("passed", None, DAY - timedelta(days=1), -1, 1, "[]"),
        ("passed", DAY, DAY, 1, 2, "[]"),
    ]
    verdict = judged_again(watched, project_in(watched), "select 1")
    assert [check.name for check in verdict.checks] == source_check_names()
    assert [check.name for check in verdict.checks if not check.passed] == []
    assert served(watched, "select source, verdict from traits.source_verdicts order by build_id")[-1] == (
        "sandbox",
        "passed",
    )


def test_judging_the_same_build_again_changes_nothing(watched: Home, project_in: Callable[[Home], Project]) -> None:
    tables = ("source_verdicts", *COUNTED_TABLES)
    before = {
        table: queried(watched, f"from (select columns(c -> c != 'decided_at') from state.{table}) order by all")
        for table in tables
    }
    judged_again(watched, project_in(watched), "select 1")
    for table in tables:
        after = queried(watched, f"from (select columns(c -> c != 'decided_at') from state.{table}) order by all")
        assert after == before[table]


def test_counting_day_by_day_equals_counting_all_anew(watched: Home, project_in: Callable[[Home], Project]) -> None:
    before = {table: queried(watched, f"from state.{table} order by all") for table in COUNTED_TABLES}
    assert (
        sum(row[4] for row in before["source_days"])
        == queried(watched, "select count(*) from events.event_log where not is_bot")[0][0]
    )
    judged_again(watched, project_in(watched), "delete from state.source_days_counted")
    for table, rows in before.items():
        assert queried(watched, f"from state.{table} order by all") == rows


def test_ordinary_days_raise_no_alarm(watched: Home) -> None:
    with watched.connect() as connection:
        days = [DAY - timedelta(days=number) for number in range(45)]
        measures = [
            {
                **NOTHING_MEASURED,
                **measure_day(read_histories(connection, until=day)["sandbox"], day),
                "groups": measure_groups(connection, "sandbox", day),
            }
            for day in days
        ]
        judged = judge_measures(connection, "sandbox", measures)
    alarms = {found.check.name: [days[place] for place in found.broken] for found in judged if found.broken}
    assert sum(measured["volume"].value is not None for measured in measures) >= 40
    critical = {check.name for check in DAY_CHECKS if check.severity == "critical"}
    assert {name: broken for name, broken in alarms.items() if name in critical} == {}


def test_a_check_says_which_days_broke_it(watched: Home) -> None:
    with watched.connect() as connection:
        ordinary = {name: Measured(None, "too little") for name in SOURCE_CHECKS}
        shifted = {"hours": Measured(3.0, "three hours later"), "volume": Measured(1.02, "a few more")}
        judged = judge_measures(connection, "sandbox", [ordinary, ordinary | shifted, ordinary | shifted])
    broken = {found.check.name: found.broken for found in judged if not found.check.passed}
    assert broken == {"hours": (1, 2), "volume": (1, 2)}


def test_a_holiday_on_which_all_is_quieter_is_shown_and_withholds_nothing(
    watched: Home, project_in: Callable[[Home], Project]
) -> None:
    quiet = f"delete from events.event_log where {TODAY} and hash(node_key) % 100 < 85"
    verdict = judged_again(watched, project_in(watched), quiet)
    assert failed_checks(verdict) == set()
    assert (verdict.verdict, verdict.touched) == ("warned", ())
    assert "volume: expected events within the usual range of that weekday" in verdict.reason


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (f"delete from events.event_log where {TODAY} and hash(event_id) % 100 < 75", "density_low"),
        (f"delete from events.event_log where {TODAY} and hash(event_id) % 100 < 98", "volume_low"),
        (f"delete from events.event_log where {TODAY} and hour(occurred_at) < 12", "silence"),
        (f"delete from events.event_log where {TODAY} and hour(occurred_at) >= 12", "silence"),
        (f"update events.event_log {LATER}, received_at = received_at + interval 3 hour where {TODAY}", "hours"),
        (f"update events.event_log {LATER} where {TODAY}", "lag"),
        (
            "insert into events.event_log select * replace (event_id || '#' as event_id) from events.event_log"
            f" where {TODAY}",
            "density_high",
        ),
        (
            "insert into events.event_log select log.* replace (event_id || '#' as event_id, node_key + n as node_key)"
            f" from events.event_log as log, range(1000000, 7000000, 1000000) as copies (n) where {TODAY}",
            "volume_high",
        ),
        (f"update events.event_log set is_identified = false where {TODAY}", "ids"),
        (f"update events.event_log set node_key = null where {TODAY} and hash(event_id) % 100 = 7", "entity"),
    ],
)
def test_a_fault_of_the_whole_source_withholds_what_it_feeds(
    watched: Home, project_in: Callable[[Home], Project], fault: str, check: str
) -> None:
    project = project_in(watched)
    verdict = judged_again(watched, project, fault)
    assert verdict.verdict == "failed"
    assert check in failed_checks(verdict)
    assert f"{check}: expected " in verdict.reason
    delivered = delivered_by(watched)
    assert set(verdict.touched) == {
        trait.name for trait in project.catalog.traits if not trait.needs or delivered & set(trait.needs)
    }


@pytest.mark.parametrize(
    ("event", "behaviours"),
    [("Page Viewed", {"navigation", "pricing"}), ("Comment Added", {"collaboration"})],
)
def test_a_silent_tracker_withholds_only_what_needs_its_behaviour(
    watched: Home, project_in: Callable[[Home], Project], event: str, behaviours: set[str]
) -> None:
    project = project_in(watched)
    meant = queried(watched, f"select distinct behaviour from state.source_days where event_name = '{event}'")
    assert {row[0] for row in meant} == behaviours
    kinds = f"kind_key in (select kind_key from events.event_kinds where event_name = '{event}')"
    verdict = judged_again(watched, project, f"delete from events.event_log where {TODAY} and {kinds}")
    assert failed_checks(verdict) == {"trackers"}
    assert f"silent: {event} (last on {DAY - timedelta(days=1)}" in verdict.reason
    assert set(verdict.touched) == {t.name for t in project.catalog.traits if behaviours & set(t.needs)}
    assert ("power_user" in verdict.touched, "dormant" in verdict.touched) == (False, False)


def renaming(which: str) -> str:
    """SQL: events of the newest day get a name that the catalogue does not know, as after a rename upstream."""
    return f"""
        insert into events.event_kinds by name
        select k.* replace (kind_key + 1000000 as kind_key, 'v2 ' || event_name as event_name)
        from events.event_kinds as k;
        update events.event_log set kind_key = kind_key + 1000000, rule_key = null where {TODAY} and {which}
    """


def of_behaviours(*names: str) -> str:
    listed = ", ".join(f"'{name}'" for name in names)
    return f"rule_key in (select rule_key from events.catalog_rules where behaviour in ({listed}))"


def test_a_day_of_new_names_withholds_all_that_needs_a_behaviour(
    watched: Home, project_in: Callable[[Home], Project]
) -> None:
    project = project_in(watched)
    verdict = judged_again(watched, project, renaming("true"))
    assert failed_checks(verdict) >= {"renamed"}
    assert f"of what people usually do under names of the event catalogue came under others on {DAY}" in verdict.reason
    assert "traithouse catalog suggest writes the rows of the event catalogue." in verdict.reason
    delivered = delivered_by(watched)
    assert set(verdict.touched) == {trait.name for trait in project.catalog.traits if delivered & set(trait.needs)}


@pytest.mark.parametrize(
    "which",
    [of_behaviours("navigation", "setup", "pricing"), of_behaviours("navigation", "pricing") + " and node_key % 2 = 0"],
)
def test_many_new_names_withhold_what_needs_the_behaviours_that_lost_them_and_nothing_else(
    watched: Home, project_in: Callable[[Home], Project], which: str
) -> None:
    project = project_in(watched)
    verdict = judged_again(watched, project, renaming(which))
    assert "renamed" in failed_checks(verdict)
    assert {"ready_to_upgrade", "pricing_before_value"} <= set(verdict.touched)
    assert {"power_user", "at_risk", "activated"} & set(verdict.touched) == set()


@pytest.mark.parametrize("people", ["true", "hash(node_key) % 100 >= 70"])
def test_a_new_name_that_everybody_has_beside_the_known_ones_withholds_nothing_on_a_holiday_neither(
    watched: Home, project_in: Callable[[Home], Project], people: str
) -> None:
    verdict = judged_again(
        watched,
        project_in(watched),
        f"""
        delete from events.event_log where {TODAY} and not ({people});
        insert into events.event_kinds by name
        select k.* replace (1000000 as kind_key, 'Page Opened' as event_name)
        from events.event_kinds as k where event_type = 'track' limit 1;
        insert into events.event_log
        select log.* replace (event_id || '#' as event_id, 1000000 as kind_key, null as rule_key)
        from events.event_log as log
        where {TODAY} and hash(event_id) % 2 = 0
        """,
    )
    assert (failed_checks(verdict), verdict.touched) == (set(), ())
    assert "unmapped: expected at most 10% of the new events" in verdict.reason


@pytest.mark.long
def test_half_a_day_withholds_until_the_rest_arrives(
    watched: Home, project_in: Callable[[Home], Project], stream: list[dict[str, Any]], tmp_path: Path
) -> None:
    project = project_in(watched)
    whole = received(stream, NEXT)
    land(watched, tmp_path / "half.ndjson", [event for event in whole if event["occurred_at"][11:13] < "11"], NEXT)
    before = served(watched, "from traits.trait_values order by all")
    report = publish_day(project, as_of=str(NEXT))
    withheld = {trait.trait: trait.reason for trait in report.withheld}
    assert {"at_risk", "dormant", "power_user"} <= set(withheld)
    assert withheld["dormant"].startswith("Its source sandbox failed its checks: ")
    assert "Load what is missing and refresh." in withheld["dormant"]
    assert served(watched, "from traits.trait_values order by all") == before
    # Asking again without repairing anything does not let it through.
    report = publish_day(project, as_of=str(NEXT))
    assert {trait.trait for trait in report.withheld} == set(withheld)

    land(watched, tmp_path / "whole.ndjson", whole, NEXT)
    report = publish_day(project, as_of=str(NEXT))
    assert report.withheld == []
    assert {trait.trait for trait in report.traits if trait.verdict == "passed"} >= {"at_risk", "dormant", "power_user"}


@pytest.mark.long
def test_refused_rows_are_told_by_reason_and_withhold_when_they_are_the_most(
    watched: Home, project_in: Callable[[Home], Project], stream: list[dict[str, Any]], tmp_path: Path
) -> None:
    whole = received(stream, NEXT)
    broken = [
        {key: value for key, value in event.items() if key not in ("user_id", "anonymous_id")} for event in whole[::2]
    ]
    broken += [{**event, "event_id": event["event_id"] + "#", "occurred_at": "soon"} for event in whole[::4]]
    land(watched, tmp_path / "broken.ndjson", [*whole[1::2], *broken], NEXT)
    written = write_and_audit(project_in(watched), as_of=str(NEXT))
    [(verdict, reason, checks)] = queried(
        watched,
        "select verdict, reason, checks from state.source_verdicts order by build_id desc limit 1",
    )
    found = {check["name"]: check for check in json.loads(checks)}
    assert verdict == "failed"
    assert not found["rejected"]["passed"]
    assert f"neither user_id nor anonymous_id ({len(whole[::2])})" in found["rejected"]["observed"]
    # Those of anonymous visitors are no part of it.
    of_users = sum(bool(event.get("user_id")) for event in whole[::4])
    assert 0 < of_users < len(whole[::4])
    assert f"occurred_at is not a time ({of_users})" in found["rejected"]["observed"]
    assert "raw.rejected_events" in reason
    [dormant] = [verdict for verdict in written.verdicts if verdict.trait == "dormant"]
    assert dormant.verdict == "failed"
    assert [check.name for check in dormant.checks if not check.passed] == ["inputs"]


def test_unmapped_late_and_early_events_are_shown_and_withhold_nothing(
    watched: Home, project_in: Callable[[Home], Project]
) -> None:
    verdict = judged_again(
        watched,
        project_in(watched),
        f"""
        update events.event_log set
            rule_key = case when hash(event_id) % 5 = 0 then null else rule_key end,
            received_at = received_at + case hash(event_id) % 5
                when 1 then interval 30 hour when 2 then interval '-20 minutes' else interval 0 hour end
        where {TODAY}
        """,
    )
    assert {check.name for check in verdict.checks if not check.passed} == {"unmapped", "lateness", "clock_skew"}
    assert (verdict.verdict, verdict.touched) == ("warned", ())
    assert "traithouse catalog suggest" in verdict.reason


@pytest.mark.long
def test_a_source_that_has_stopped_is_shown_and_keeps_its_last_verdict(
    watched: Home, project_in: Callable[[Home], Project]
) -> None:
    write_and_audit(project_in(watched), as_of=str(DAY + timedelta(days=2)))
    [row] = queried(
        watched,
        "select verdict, reason, first_day, last_day, loaded_after, loaded_until from state.source_verdicts"
        " order by build_id desc limit 1",
    )
    assert row[0] == "warned"
    assert row[1].startswith(f"arrival: expected events on the newest complete day, found the last event on {DAY}")
    assert row[2:] == (DAY, DAY, 1, 2)


# A visit of a device that nobody has logged in from; n tells devices apart.
VISITS = f"""
    insert into events.event_log
    select
        log.* replace (
            log.event_id || '#' || n as event_id, 1000000 + n as node_key, 1000000 + n as anonymous_key,
            false as is_identified
        )
    from (select * from events.event_log where {TODAY} limit 1) as log, range({{devices}}) as visits (n)
"""


def test_a_flood_of_anonymous_visitors_is_judged_by_itself_and_touches_only_traits_of_everyone(
    watched: Home, project_in: Callable[[Home], Project]
) -> None:
    project = project_in(watched)
    known = "from state.source_hours where not is_anonymous order by all"
    before = queried(watched, known)
    flood = VISITS.format(devices=5000)
    verdict = judged_again(watched, project, flood)
    assert queried(watched, known) == before
    failed = failed_checks(verdict)
    assert failed
    assert all(name.startswith("anonymous_") for name in failed)
    assert (verdict.verdict, verdict.touched) == ("warned", ())
    asking = [
        trait.model_copy(update={"everyone": trait.name in ("dormant", "health")}) for trait in project.catalog.traits
    ]
    asking_project = project.replace(watched, catalog=project.catalog.model_copy(update={"traits": tuple(asking)}))
    verdict = judged_again(watched, asking_project, "select 1")
    assert (verdict.verdict, verdict.touched) == ("failed", ("dormant",))
    assert verdict.reason.startswith("anonymous_")


def test_anonymous_visitors_hide_no_fault_of_known_users(watched: Home, project_in: Callable[[Home], Project]) -> None:
    lost = f"delete from events.event_log where {TODAY} and hash(event_id) % 100 < 75"
    alone = failed_checks(judged_again(watched, project_in(watched), lost))
    both = failed_checks(judged_again(watched, project_in(watched), VISITS.format(devices=5000)))
    assert "density_low" in alone
    assert {name for name in both if not name.startswith("anonymous_")} == alone


def test_a_plan_whose_users_are_all_missing_is_named(watched: Home, project_in: Callable[[Home], Project]) -> None:
    verdict = judged_again(
        watched,
        project_in(watched),
        f"""
        delete from events.event_log where {TODAY} and node_key in (
            select m.user_key
            from identity.memberships as m
            inner join identity.attributes as a on a.entity_type = 'account' and a.entity_id = m.account_id
            where m.is_current and a.attribute = 'plan' and a.valid_to is null and a.value = 'starter'
        )
        """,
    )
    assert failed_checks(verdict) == {"groups"}
    assert f"found vanished on {DAY}: plan starter (about " in verdict.reason
    assert "dormant" in verdict.touched
