"""The only clock."""

from datetime import datetime

import pytest

from orchestration.errors import UsageError
from orchestration.transform.clock import days_before, grid_point_before, midnight_after, resolve_as_of

NOW = datetime(2025, 6, 15, 13, 30)


def resolved(text: str | None, **given: object) -> datetime:
    arguments: dict[str, object] = {
        "now": NOW,
        "newest_event": datetime(2025, 6, 10, 9),
        "last_published": None,
        "time_zone": "UTC",
    }
    return resolve_as_of(text, **(arguments | given))  # type: ignore[arg-type]


def test_by_default_it_is_the_midnight_after_the_newest_event() -> None:
    assert resolved(None) == datetime(2025, 6, 11)


def test_by_default_it_is_now_when_the_newest_event_is_of_today() -> None:
    assert resolved(None, newest_event=datetime(2025, 6, 15, 13)) == NOW


def test_by_default_it_never_goes_back_behind_what_is_published() -> None:
    assert resolved(None, last_published=datetime(2025, 6, 12)) == datetime(2025, 6, 12)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2025-06-01", "UTC", datetime(2025, 6, 2)),
        ("2025-06-01", "Europe/Berlin", datetime(2025, 6, 1, 22)),
        ("2025-06-01T12:00:00", "Europe/Berlin", datetime(2025, 6, 1, 12)),
        ("2025-06-01T12:00:00+02:00", "UTC", datetime(2025, 6, 1, 10)),
        ("2025-06-01 00:00:00", "UTC", datetime(2025, 6, 1)),
    ],
)
def test_a_date_is_its_end_and_a_time_is_utc_unless_it_says_otherwise(text: str, zone: str, expected: datetime) -> None:
    assert resolved(text, time_zone=zone) == expected


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        ("tomorrow", {}, "is not a time"),
        ("2062-01-01", {}, "lies in the future"),
        ("2025-06-01", {"last_published": datetime(2025, 6, 3)}, "is before 2025-06-03"),
        (None, {"newest_event": None}, "no events yet"),
    ],
)
def test_what_cannot_be_used_is_refused(text: str | None, given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolved(text, **given)


def test_the_grid_point_lies_strictly_before() -> None:
    assert grid_point_before(datetime(2025, 6, 2), "UTC") == datetime(2025, 6, 1)
    assert grid_point_before(datetime(2025, 6, 2, 0, 0, 0, 1), "UTC") == datetime(2025, 6, 2)
    assert grid_point_before(datetime(2025, 6, 1, 23), "Europe/Berlin") == datetime(2025, 6, 1, 22)


def test_midnights_follow_daylight_saving() -> None:
    assert midnight_after(datetime(2025, 3, 29, 12), "Europe/Berlin") == datetime(2025, 3, 29, 23)
    assert midnight_after(datetime(2025, 3, 30, 12), "Europe/Berlin") == datetime(2025, 3, 30, 22)
    assert days_before(datetime(2025, 4, 1, 22), 28, "Europe/Berlin") == datetime(2025, 3, 4, 23)
