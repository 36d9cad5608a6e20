"""The only clock: ``as_of``, an exclusive upper bound in UTC, and the daily grid on which trait state advances."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from orchestration.errors import UsageError


def midnight_after(instant: datetime, time_zone: str) -> datetime:
    """The first midnight (reporting time zone) after an instant; both naive UTC.

    An instant that is itself midnight gives the midnight after the day that it begins.
    """
    zone = ZoneInfo(time_zone)
    local = instant.replace(tzinfo=UTC).astimezone(zone)
    return _midnight(local + timedelta(days=1), zone)


def grid_point_before(as_of: datetime, time_zone: str) -> datetime:
    """The last midnight (reporting time zone) strictly before as_of; both naive UTC."""
    zone = ZoneInfo(time_zone)
    last = (as_of - timedelta(microseconds=1)).replace(tzinfo=UTC).astimezone(zone)
    return _midnight(last, zone)


def local_date(instant: datetime, time_zone: str) -> date:
    """The calendar day (reporting time zone) of a naive UTC instant."""
    return instant.replace(tzinfo=UTC).astimezone(ZoneInfo(time_zone)).date()


def end_of_day(day: date, time_zone: str) -> datetime:
    """The midnight (reporting time zone) that ends a calendar day; naive UTC."""
    return _midnight(datetime.combine(day + timedelta(days=1), time()), ZoneInfo(time_zone))


def days_before(instant: datetime, days: int, time_zone: str) -> datetime:
    """The midnight (reporting time zone) that lies days before the last one at or before an instant; naive UTC."""
    zone = ZoneInfo(time_zone)
    return _midnight(instant.replace(tzinfo=UTC).astimezone(zone) - timedelta(days=days), zone)


def _midnight(local: datetime, zone: ZoneInfo) -> datetime:
    return datetime.combine(local.date(), time(), zone).astimezone(UTC).replace(tzinfo=None)


def resolve_as_of(
    text: str | None,
    *,
    now: datetime,
    newest_event: datetime | None,
    last_published: datetime | None,
    time_zone: str,
) -> datetime:
    """What as_of a refresh runs at; every instant is naive UTC.

    Args:
        text: as given: a date (its end), a time with or without an offset, or nothing: then the earlier of now and the
            midnight after the newest accepted event, but never before what is published.
        now: the wall clock.
        newest_event: when the newest accepted event occurred.
        last_published: as_of of the last publish.
        time_zone: reporting time zone, whose midnights count.

    Raises:
        UsageError: it cannot be read, lies in the future, or before what is published.

    """
    if text is None:
        if newest_event is None:
            raise UsageError("There are no events yet.", "traithouse load FILE... brings them in.")
        default = min(now, midnight_after(newest_event, time_zone))
        return max(default, last_published) if last_published else default
    as_of = _parse(text, time_zone)
    if as_of > midnight_after(now, time_zone):
        raise UsageError(f"--as-of {text} lies in the future.", "Time that has not passed has no events.")
    if last_published and as_of < last_published:
        raise UsageError(
            f"--as-of {text} is before {last_published} UTC, which is published.",
            "Published state only moves forward; use another --home to look at the past.",
        )
    return as_of


def _parse(text: str, time_zone: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--as-of {text} is not a time.",
            "Use 2024-06-30 (the end of that day) or 2024-06-30T12:00:00Z.",
        ) from None
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}|\d{8}", text):
        zone = ZoneInfo(time_zone)
        return _midnight(parsed.replace(tzinfo=zone) + timedelta(days=1), zone)
    if parsed.tzinfo is None:
        return parsed
    return parsed.astimezone(UTC).replace(tzinfo=None)
