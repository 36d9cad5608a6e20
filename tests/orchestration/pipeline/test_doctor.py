"""What the doctor sees, and that it finds nothing where nothing is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration.home import Home
from orchestration.landing.load import load
from orchestration.pipeline.doctor import doctor
from orchestration.pipeline.reconciliation import reconcile, unread_tables
from orchestration.transform.dbt import Project
from tests.conftest import queried
from tests.streams.harness import build

EventsFile = Callable[..., Path]


def event(**fields: object) -> dict[str, object]:
    return {"user_id": "user_0001", "event_name": "home", "occurred_at": "2024-06-29T10:00:00Z"} | fields


@pytest.fixture
def problems(sample_project: Project) -> Callable[[], list[str]]:
    """What the doctor finds in the sample's home, apart from traits that the sample has no events for."""
    return lambda: [problem for problem in doctor(sample_project)["problems"] if "is not judged" not in problem]


def test_every_row_of_the_sample_is_accounted_for(sample_home: Home, sample_project: Project) -> None:
    found = doctor(sample_project)
    assert found["rows"] == [
        {
            "source": "shop",
            "table": "raw.events",
            "loaded": 31_106,
            "used": 31_076,
            "duplicate": 30,
            "quarantined": 0,
            "returned": 0,
            "unread": 0,
            "rejected": 0,
            "lost": 0,
        }
    ]
    assert all("is not judged. No loaded event means" in problem for problem in found["problems"])


def test_tables_that_nobody_reads_are_named(
    sample_home: Home, problems: Callable[[], list[str]], events_file: EventsFile
) -> None:
    load(sample_home, [events_file([{"id": "1"}, {"id": "2"}])], source="segment", table="tracks")
    assert problems() == [
        "raw_segment.tracks holds 2 rows that nobody reads. Add segment to the var sources in dbt_project.yml, then"
        " traithouse refresh."
    ]
    # A track that gets its properties is no other row.
    load(sample_home, [events_file([{"id": "1", "total": 5}])], source="segment", table="order_started")
    assert "raw_segment.tracks holds 2 rows" in " ".join(problems())
    with sample_home.lock("test"), sample_home.connect() as connection:
        assert unread_tables(connection, ["generic", "segment"]) == []
        [_, odd] = unread_tables(connection, ["generic", "segment"], {"segment": {"pages"}})
    assert odd.words == "raw_segment.tracks holds 2 rows that nobody reads. The adapter segment reads pages."


@pytest.mark.long
def test_rows_are_unread_until_the_refresh_and_then_used_duplicate_or_quarantined(
    sample_home: Home, sample_project: Project, problems: Callable[[], list[str]], events_file: EventsFile
) -> None:
    rows = [
        event(event_id="1"),
        event(event_id="1", properties={"n": 2}),
        event(event_id="2", user_id="unknown"),
        event(event_id="3", occurred_at="soon"),
    ]
    load(sample_home, [events_file(rows)], source="shop")
    assert problems() == [
        "3 rows of shop in raw.events came after the last refresh; traithouse refresh reads them.",
        "1 records of shop were rejected; raw.rejected_events has file, line and reason of each.",
    ]
    build(sample_home, sample_project, as_of="2024-06-30")
    with sample_home.lock("test"), sample_home.connect() as connection:
        [shop] = reconcile(connection, ["generic"])
        assert [shop] == reconcile(connection, ["generic"], recount=False)
    assert (shop.loaded, shop.used, shop.duplicate, shop.quarantined, shop.unread) == (31_109, 31_077, 31, 1, 0)
    assert (shop.rejected, shop.lost) == (1, 0)
    assert "1 rows of shop are no events: neither user_id nor anonymous_id. events.quarantined_events holds them." in (
        problems()
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "insert into identity.attributes by name select 'user' as entity_type, 'user_0001' as entity_id,"
            " 'plan' as attribute, 'Galaxy' as value, timestamp '2024-01-01' as valid_from",
            "Plan galaxy of 1 users or accounts is not in seeds/plan_catalog.csv: nobody knows whether a higher one"
            " exists. traithouse catalog suggest proposes a rank where the name tells it; else add a row plan,rank.",
        ),
        (
            "update events.event_log set is_identified = false",
            "No event of shop names a user: traits are of identified users. Let the tracker identify them, or map"
            " user_id.",
        ),
        (
            "delete from events.event_log where event_id in (select min(event_id) from events.event_log)",
            "1 rows of shop in raw.events are neither used nor duplicate, quarantined, returned or unread; traithouse"
            " refresh --full-refresh rebuilds everything.",
        ),
    ],
)
def test_what_is_missing_is_named(
    sample_home: Home, problems: Callable[[], list[str]], change: str, problem: str
) -> None:
    queried(sample_home, change)
    assert problems() == [problem]


def test_packages_of_other_versions_are_named(
    sample_home: Home, problems: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {"python": "3.11", "duckdb": "0.0.1"}
    monkeypatch.setattr("orchestration.pipeline.doctor.versions", lambda: found)
    assert [problem[:28] for problem in problems()] == ["duckdb 0.0.1 is installed, a"]


def test_an_empty_home_is_told_to_load(home: Home, project: Project) -> None:
    assert doctor(project.replace(home))["problems"] == [
        "Nothing is loaded yet; traithouse load FILE brings events in."
    ]
