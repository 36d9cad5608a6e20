"""A whole schema of Segment is followed, whichever tables of events appear there or vanish."""

import json
from typing import Any

import pytest
import sqlalchemy as sa

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.landing.declared import Pull
from orchestration.landing.pull import PullReport, pull
from tests.conftest import NOW, queried
from tests.orchestration.landing.conftest import INSTANT, Shop, at, one_pull

SHARED: dict[str, Any] = {
    "id": sa.String(40),
    "event": sa.String(40),
    "user_id": sa.String(40),
    "timestamp": INSTANT,
    "received_at": INSTANT,
}


def segment_pulls(source: str = "segment", **changed: Any) -> list[Pull]:
    """The pulls of Segment's tables, as a source of Segment declares them for all."""
    declared = {"url_env": "SHOP_URL", "schema": "sales", "cursor": "received_at", "overlap": "1 hour"} | changed
    return [
        one_pull({"database": declared}, source=source, table=table)
        for table in ("identifies", "screens", "track_properties", "tracks")
    ]


def by_origin(reports: list[PullReport]) -> dict[str, tuple[int, int]]:
    """Table of the schema -> rows read, and rows that are new."""
    assert not [report.error for report in reports if report.failed]
    return {
        report.origin.removeprefix("database sales."): (report.rows, report.accepted)
        for report in reports
        if report.origin
    }


def track(shop: Shop, key: str, event: str, when: str, *properties: Any) -> None:
    """A track, and its row in the table of its event."""
    row = (key, event, "u1", at(when), at(when))
    shop.insert(row, table="tracks")
    shop.insert((*row, *properties), table=event)


@pytest.fixture
def warehouse(shop: Shop) -> Shop:
    shop.create("tracks", **SHARED)
    shop.create("identifies", id=sa.String(40), user_id=sa.String(40), plan=sa.String(9), received_at=INSTANT)
    shop.create("users", id=sa.String(40), plan=sa.String(9), received_at=INSTANT)
    shop.create("notes", id=sa.Integer, received_at=INSTANT)
    shop.create("signed_up", **SHARED, plan=sa.String(9))
    shop.run("create view sales.signed_up_view as select * from sales.signed_up")
    shop.insert(("i1", "u1", "pro", at("2025-06-01 09:00")), table="identifies")
    track(shop, "a", "signed_up", "2025-06-01 10:00", "pro")
    return shop


def test_event_tables_appear_and_vanish(home: Home, warehouse: Shop) -> None:
    first = pull(home, segment_pulls(), now=NOW)
    assert by_origin(first) == {"identifies": (1, 1), "signed_up": (1, 1), "tracks": (1, 1)}
    assert {name: why for report in first for name, why in report.passed_over.items()} == {
        "screens": "sales has no such table",
        "users": "it holds nothing that identifies does not hold",
        "signed_up_view": "it holds nothing that signed_up does not hold",
        "notes": "it is no table of an event: it has no column event",
    }
    # The table of another event appears, and has columns of its own.
    warehouse.create("order_done", **SHARED, total=sa.Numeric(10, 2))
    track(warehouse, "b", "order_done", "2025-06-01 12:00", 5.5)
    track(warehouse, "c", "signed_up", "2025-06-01 12:30", "free")
    second = by_origin(pull(home, segment_pulls(), now=NOW))
    assert second == {"identifies": (1, 0), "order_done": (1, 1), "signed_up": (2, 1), "tracks": (3, 2)}
    # One vanishes; it comes back, and goes on at its own cursor.
    warehouse.run(
        "drop view sales.signed_up_view",
        "alter table sales.signed_up rename to sales.away"
        if warehouse.kind == "mariadb"
        else "alter table sales.signed_up rename to away",
    )
    third = by_origin(pull(home, segment_pulls(), now=NOW))
    assert third == {"away": (2, 2), "identifies": (1, 0), "order_done": (1, 0), "tracks": (2, 0)}


def test_tracks_have_the_properties_of_their_event(home: Home, warehouse: Shop) -> None:
    warehouse.create("order_done", **SHARED, total=sa.Numeric(10, 2))
    track(warehouse, "b", "order_done", "2025-06-01 12:00", 5.5)
    for _ in range(2):
        pull(home, segment_pulls("segment_ios"), now=NOW)
    rows = queried(home, "select id, event_table, properties from raw_segment_ios.track_properties order by id")
    assert [(key, table, json.loads(properties)) for key, table, properties in rows] == [
        ("a", "signed_up", {"plan": "pro"}),
        ("b", "order_done", {"total": "5.5"}),
    ]
    completed = "select id, track_properties from raw_segment_ios.tracks where track_properties is not null order by id"
    assert queried(home, completed) == [("a", '{"plan":"pro"}'), ("b", '{"total":"5.5"}')]
    cursors = "select table_name, cursor_value from raw.pulled_cursors order by all"
    assert queried(home, cursors) == [
        ("identifies", "2025-06-01T09:00:00"),
        ("order_done", "2025-06-01T12:00:00"),
        ("signed_up", "2025-06-01T10:00:00"),
        ("tracks", "2025-06-01T12:00:00"),
    ]


def test_one_table_that_cannot_be_read_holds_up_no_other(home: Home, warehouse: Shop) -> None:
    warehouse.create("odd", **{name: kind for name, kind in SHARED.items() if name != "received_at"})
    reports = pull(home, segment_pulls(), now=NOW)
    assert [report.error.partition(": pull")[2] for report in reports if report.error] == [
        ".database.cursor: column received_at of sales.odd is not there."
        " Name a column of times, dates or whole numbers that rises with new rows."
    ]
    assert sum(report.accepted for report in reports) == 3


def test_a_schema_that_is_not_there_is_named(home: Home, shop: Shop) -> None:
    reports = pull(home, segment_pulls(schema="nowhere"), now=NOW)
    problem = {"postgres": "there is no schema nowhere with tables.", "mariadb": "Unknown database 'nowhere'."}
    assert len(reports) == 4
    assert all(problem[shop.kind] in report.error for report in reports)


def test_a_schema_is_declared_instead_of_a_table() -> None:
    both = {"url_env": "U", "schema": "sales", "table": "sales.orders", "cursor": "at"}
    for declared in (both, {"url_env": "U", "cursor": "at"}):
        with pytest.raises(UsageError, match=r"pull\.database: give either table or schema"):
            one_pull({"database": declared})
    with pytest.raises(UsageError, match=r"pull\.database\.schema is for vendors' tables"):
        one_pull({"database": {"url_env": "U", "schema": "sales", "cursor": "at"}}, source="raw", table="events")
