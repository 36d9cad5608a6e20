"""Tables that a warehouse keeps for each event give tracks their properties."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.landing.load import load
from tests.conftest import queried

EventsFile = Callable[..., Path]
TRACKS = "select id, load_id, track_properties, track_properties_version from raw_segment.tracks order by 1, 2"


def call(key: str, event: str, **properties: Any) -> dict[str, Any]:
    shared = {
        "id": key,
        "event": event,
        "user_id": "u1",
        "timestamp": "2024-01-01",
        "context_ip": "::1",
        "sent_at": None,
    }
    return shared | properties


@pytest.fixture
def land(home: Home, events_file: EventsFile) -> Callable[..., tuple[int, int]]:
    """Loads rows into a table of Segment, and says how many were added and how many were there."""

    def landed(table: str, *rows: dict[str, Any]) -> tuple[int, int]:
        report = load(home, [events_file(rows)], source="segment", table=table)
        return report.accepted, report.duplicates

    return landed


def test_properties_may_come_before_their_track_or_after_it(home: Home, land: Callable[..., tuple[int, int]]) -> None:
    assert land("tracks", call("a", "signed_up")) == (1, 0)
    assert land("signed_up", call("a", "signed_up", plan="pro", Seats=3)) == (1, 0)
    assert land("order_done", call("b", "order_done", total=5.5)) == (1, 0)
    assert land("tracks", call("b", "order_done")) == (1, 0)
    assert queried(home, TRACKS) == [
        ("a", 1, None, None),
        ("a", 2, '{"plan":"pro","seats":"3"}', 1),
        ("b", 4, '{"total":"5.5"}', 1),
    ]
    assert queried(home, "select id, event_table, user_id, load_id from raw_segment.track_properties order by 1") == [
        ("a", "signed_up", "u1", 2),
        ("b", "order_done", "u1", 3),
    ]


def test_loading_again_adds_nothing(home: Home, land: Callable[..., tuple[int, int]]) -> None:
    for _ in range(2):
        tracks = land("tracks", call("a", "signed_up"))
        properties = land("signed_up", call("a", "signed_up", plan="pro"))
    assert (tracks, properties) == ((0, 1), (0, 1))
    assert len(queried(home, TRACKS)) == 2


def test_newer_properties_are_a_newer_version(home: Home, land: Callable[..., tuple[int, int]]) -> None:
    land("tracks", call("a", "signed_up"))
    land("signed_up", call("a", "signed_up", plan="pro"))
    land("signed_up", call("a", "signed_up", plan="pro", coupon="x"))
    assert queried(home, TRACKS)[1:] == [("a", 2, '{"plan":"pro"}', 1), ("a", 3, '{"coupon":"x","plan":"pro"}', 2)]


def test_rows_of_many_events_name_theirs(home: Home, land: Callable[..., tuple[int, int]]) -> None:
    assert land("track_properties", call("a", "signed_up", plan="pro"), call("b", "left"), call("", "left")) == (2, 0)
    assert queried(home, "select id, event_table, properties from raw_segment.track_properties order by 1") == [
        ("a", "signed_up", '{"plan":"pro"}'),
        ("b", "left", "{}"),
    ]
    assert queried(home, "select reason from raw.rejected_events") == [("no id",)]


@pytest.mark.parametrize(
    ("table", "instead"), [("users", "identifies"), ("accounts", "groups"), ("signed_up_view", "signed_up")]
)
def test_tables_that_repeat_others_are_refused(home: Home, events_file: EventsFile, table: str, instead: str) -> None:
    with pytest.raises(UsageError, match=f"holds nothing that {instead} does not hold"):
        load(home, [events_file([call("a", "x")])], source="segment", table=table)
