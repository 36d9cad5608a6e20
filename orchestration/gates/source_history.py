"""What a source has delivered so far, by day: the past that a new day is compared with.

Events of known users and anonymous events are two histories; neither sees the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

import duckdb

# With fewer days before it, a day is compared with nothing.
LEAST_HISTORY_DAYS = 21


@dataclass
class DayCount:
    """One day of a source.

    Attributes:
        events: all events.
        identified: hours of people who have a user_id.
        shifted: events that were received whole hours before or after they occurred.
        users: different ids in each hour of the day (UTC), from hour 0 on.

    """

    events: int = 0
    identified: int = 0
    shifted: int = 0
    users: list[int] = field(default_factory=lambda: [0] * 24)

    @property
    def user_hours(self) -> int:
        """Hours of all people: a person who is there at nine and at ten counts twice."""
        return sum(self.users)

    @property
    def density(self) -> float:
        """Events that a person has in an hour."""
        return self.events / self.user_hours if self.user_hours else 0.0


Unit = tuple[str, str]
"""Event name and behaviour."""


@dataclass(frozen=True)
class History:
    """The days of a source up to some day.

    Attributes:
        days: counts by day (reporting time zone); a day without events may be missing.
        units: of each event name and behaviour, the number of different ids that had it, by day.
        until: the last day that is known.

    """

    days: Mapping[date, DayCount]
    units: Mapping[Unit, Mapping[date, int]]
    until: date

    @property
    def first(self) -> date:
        """First day with an event; the last known day when there is none."""
        return min(self.days, default=self.until)

    @property
    def last(self) -> date:
        """Last day with an event; the last known day when there is none."""
        return max(self.days, default=self.until)

    def day(self, day: date) -> DayCount:
        """The counts of a day; those of a day without events are empty."""
        return self.days.get(day) or DayCount()

    def before(self, day: date, count: int) -> list[DayCount]:
        """The days before a day, as far as the source reaches back, oldest first."""
        back = range(min(count, (day - self.first).days), 0, -1)
        return [self.day(day - timedelta(days=number)) for number in back]

    def acts(self, day: date, *, is_mapped: bool) -> int:
        """What people did on a day under mapped or unmapped names; each name counts once for each person."""
        return sum(users.get(day, 0) for (_, behaviour), users in self.units.items() if bool(behaviour) == is_mapped)

    def is_known(self, day: date) -> bool:
        """Whether there is enough before a day to compare it with."""
        return (day - self.first).days >= LEAST_HISTORY_DAYS


def read_histories(
    connection: duckdb.DuckDBPyConnection, until: date, *, is_anonymous: bool = False
) -> dict[str, History]:
    """What each source delivered of known users, by name of the source; empty where it delivered nothing of the kind.

    Args:
        connection: the warehouse, after ``count_source_days``.
        until: the last day (reporting time zone); later days are left out.
        is_anonymous: read the anonymous events instead.

    """
    days: dict[str, dict[date, DayCount]] = {}
    for source, day, hour, events, users, identified, shifted in connection.execute(
        """
        select source, day, cast(hour(hour) as integer), events, users, identified, shifted
        from state.source_hours where day <= $1 and is_anonymous = $2
        """,
        [until, is_anonymous],
    ).fetchall():
        found = days.setdefault(source, {}).setdefault(day, DayCount())
        found.events += events
        found.identified += identified
        found.shifted += shifted
        found.users[hour] += users
    units: dict[str, dict[Unit, dict[date, int]]] = {}
    for source, name, behaviour, day, users in connection.execute(
        """
        select source, event_name, behaviour, day, users from state.source_days
        where day <= $1 and is_anonymous = $2
        """,
        [until, is_anonymous],
    ).fetchall():
        units.setdefault(source, {}).setdefault((name, behaviour), {})[day] = users
    sources = connection.execute(
        "select distinct source from state.source_hours where day <= $1 order by source", [until]
    ).fetchall()
    return {source: History(days.get(source, {}), units.get(source, {}), until) for (source,) in sources}
