"""What a source's day is measured by: numbers that are null where there is too little to compare with.

Every measure is taken against the source's own past, and none takes a day on which all is quieter in proportion, such
as a public holiday, for a fault. Three things tell lost or doubled rows from fewer or more people: how many events a
person has in an hour, at what hours of the day there is nobody, and whether one event alone is missing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import median

LEAST_HISTORY_DAYS = 21
LEAST_SAME_WEEKDAYS = 3
WEEKS_COMPARED = 8
DAYS_COMPARED = 28

# Fewer in an ordinary day are too few to miss.
LEAST_EVENTS = 20
# Of a Poisson number with this mean, zero has a chance of 1 in 20,000; people are more alike than that.
LEAST_MISSED = 10.0
# Of many events, one or another is silent by chance.
LEAST_MISSED_OF_EVENT = 15.0
LEAST_SILENT_SHARE = 0.15
NEARLY_NOTHING = 0.05
ROBUST_WIDTH = 4.0
SMALLEST_SPREAD = 0.1
# Variance of a day's hours of people, as a multiple of that of independent ones.
CLUSTERING = 1.5
MAD_TO_SIGMA = 1.4826
DENSITY_SIGMAS = 3.0
# Fewer hours of people tell nothing of what people usually do.
LEAST_USER_HOURS = 20
LONGEST_MEMORY_DAYS = 7
LEAST_SHIFT_HOURS = 2
LEAST_SHIFT_EVIDENCE = 10.0


@dataclass
class DayCount:
    """One day of a source.

    Attributes:
        events: all.
        identified: hours of people who have a user_id.
        shifted: events received whole hours before or after they occurred.
        users: different ids in each hour of the day (UTC), from 0.

    """

    events: int = 0
    identified: int = 0
    shifted: int = 0
    users: list[int] = field(default_factory=lambda: [0] * 24)

    @property
    def user_hours(self) -> int:
        """Hours of all people: someone who is there at nine and at ten counts twice."""
        return sum(self.users)

    @property
    def density(self) -> float:
        """Events that a person has in an hour."""
        return self.events / self.user_hours if self.user_hours else 0.0


Unit = tuple[str, str]
"""Event name and behaviour."""


@dataclass(frozen=True)
class History:
    """A source's days up to one, and of each event name and behaviour the ids that had it, by day."""

    days: Mapping[date, DayCount]
    units: Mapping[Unit, Mapping[date, int]]
    until: date

    @property
    def first(self) -> date:
        """First day with an event."""
        return min(self.days)

    @property
    def last(self) -> date:
        """Last day with an event."""
        return max(self.days)

    def day(self, day: date) -> DayCount:
        """A day; one without events is empty."""
        return self.days.get(day) or DayCount()

    def before(self, day: date, count: int) -> list[DayCount]:
        """The days before a day, as far as the source reaches back, oldest first."""
        back = range(min(count, (day - self.first).days), 0, -1)
        return [self.day(day - timedelta(days=number)) for number in back]

    def acts(self, day: date, *, is_mapped: bool) -> int:
        """What people did under mapped or unmapped names, each name once a person."""
        return sum(users.get(day, 0) for (_, behaviour), users in self.units.items() if bool(behaviour) == is_mapped)

    def is_known(self, day: date) -> bool:
        """Whether there is enough before a day to compare it with."""
        return (day - self.first).days >= LEAST_HISTORY_DAYS


@dataclass(frozen=True)
class Measured:
    """A number, what was found in words, and which behaviours it is about (none: the whole source)."""

    value: float | None
    observed: str
    behaviours: frozenset[str] | None = None


TOO_LITTLE = "too little history to compare with"


def measure_day(history: History, day: date) -> dict[str, Measured]:
    """Measures of one complete day by check; a value is null where it cannot be told.

    Args:
        history: of the source; days after ``day`` are not read.
        day: reporting time zone.

    """
    if not history.is_known(day):
        names = ("volume", "volume_low", "volume_high", "density_low", "density_high", "silence", "hours", "lag")
        return dict.fromkeys((*names, "ids", "trackers", "renamed"), Measured(None, TOO_LITTLE))
    lag, hours = _lag(history, day), _hours(history, day)
    return {**_volume(history, day), **_density(history, day), "silence": _silence(history, day), "hours": hours} | {
        "lag": lag,
        "ids": _ids(history, day),
        "trackers": _trackers(history, day),
        "renamed": _renamed(history, day),
    }


def _volume(history: History, day: date) -> dict[str, Measured]:
    """The day's events, as a share of the median of the same weekday.

    A surge must also be one against the largest of these days, for two holidays in three weeks make a low median.
    """
    names = ("volume", "volume_low", "volume_high")
    count = history.day(day).events
    weeks = min(WEEKS_COMPARED, (day - history.first).days // 7)
    known = [history.day(day - timedelta(weeks=week)) for week in range(1, weeks + 1)]
    usual = median(one.events for one in known) if len(known) >= LEAST_SAME_WEEKDAYS else 0
    if usual < LEAST_EVENTS:
        return dict.fromkeys(names, Measured(None, f"{count} events on {day}; {TOO_LITTLE}"))
    ratio = count / usual
    logs = [math.log1p(one.events) for one in known]
    usual_users = median(one.user_hours for one in known)
    # So few days may be alike by chance; they cannot be more alike than as many people who come independently.
    chance = math.sqrt(SMALLEST_SPREAD**2 + CLUSTERING / max(1, usual_users))
    width = ROBUST_WIDTH * max(chance, _spread(logs))
    low, high = math.expm1(median(logs) - width), math.expm1(median(logs) + width)
    words = f"{count} events on {day:%A %d %B %Y}, {ratio:.2f} of the {usual:.0f} usual on that weekday"
    outside = not low <= count <= high
    nothing = ratio < NEARLY_NOTHING and usual_users >= LEAST_MISSED
    surge = count > high and count > 2 * max(one.events for one in known)
    return {
        "volume": Measured(ratio if outside else 1.0, f"{words} (there: {max(low, 0):.0f} to {high:.0f})"),
        "volume_low": Measured(ratio if outside and nothing else max(ratio, 1.0), words),
        "volume_high": Measured(ratio if surge else min(ratio, 1.0), words),
    }


def _density(history: History, day: date) -> dict[str, Measured]:
    """Events that a person has in an hour, as a share of the usual.

    Rows that are lost at random make it fall, rows that came twice with new ids make it rise; fewer people do neither.
    """
    found = history.day(day)
    known = [one for one in history.before(day, DAYS_COMPARED) if one.user_hours]
    if not found.user_hours or len(known) < LEAST_HISTORY_DAYS // 2:
        return dict.fromkeys(("density_low", "density_high"), Measured(None, TOO_LITTLE))
    usual = median(one.density for one in known)
    sigmas = _sigmas(found.density, found.user_hours, [(one.density, one.user_hours) for one in known])
    ratio = found.density / usual
    words = f"{found.density:.1f} events a person and hour on {day}, usually {usual:.1f}"
    told = abs(sigmas) >= DENSITY_SIGMAS and found.user_hours >= LEAST_USER_HOURS
    return {
        "density_low": Measured(ratio if told else 1.0, words),
        "density_high": Measured(ratio if told else 1.0, words),
    }


def _sigmas(found: float, hours: int, known: Sequence[tuple[float, int]]) -> float:
    """How far a number a person and hour lies from its median of known days, given how many hours each is made of."""
    usual = median(number for number, _ in known)
    spread = max(SMALLEST_SPREAD, _spread([(number - usual) * math.sqrt(count) for number, count in known]))
    return (found - usual) * math.sqrt(hours) / spread


def _silence(history: History, day: date) -> Measured:
    """People that are missing in the longest silence of the day, given how many there were at its other hours."""
    known = history.before(day, DAYS_COMPARED)
    profile = _profile(known)
    found = history.day(day)
    weight, first, length = _longest_silence(found.users, profile)
    weeks = min(WEEKS_COMPARED, (day - history.first).days // 7)
    usual = median(history.day(day - timedelta(weeks=week)).user_hours for week in range(1, weeks + 1))
    # The least that the people of the other hours speak of, and no more than usually come.
    seen = max(0.0, found.user_hours - 2 * math.sqrt(found.user_hours))
    missed = weight * min(usual, seen / (1 - weight) if weight < 1 else 0.0)
    known_silences = [_longest_silence(one.users, profile)[0] for one in known if one.user_hours >= seen]
    words = (
        f"{length} hours without an event on {day} from {first:02d}:00 UTC" if length else f"no silent hour on {day}"
    )
    words += f", in which {weight:.0%} of a day's people come"
    beyond = weight > max(LEAST_SILENT_SHARE, 1.2 * max(known_silences, default=1.0))
    return Measured(missed if beyond else 0.0, words)


def _longest_silence(users: Sequence[int], profile: Sequence[float]) -> tuple[float, int, int]:
    """The stretch of empty hours in which most would have come: their share, its first hour, its length."""
    best, start = (0.0, 0, 0), 0
    for hour in range(25):
        if hour == 24 or users[hour]:
            best = max(best, (sum(profile[start:hour]), start, hour - start))
            start = hour + 1
    return best


def _hours(history: History, day: date) -> Measured:
    """By how many hours the day's profile is shifted against the usual one; 0 where it is not clear.

    An hour more or less is daylight saving; and no day may be called shifted that is not much more so than any before.
    """
    known = history.before(day, DAYS_COMPARED)
    profile = _profile(known)
    gain, shift = _best_shift(history.day(day).users, profile)
    usual = max((_best_shift(one.users, profile)[0] for one in known), default=0.0)
    clear = gain >= LEAST_SHIFT_EVIDENCE and gain > 1.5 * usual
    if not clear:
        return Measured(0.0, f"the usual hours of the day on {day}")
    return Measured(float(shift), f"the hours of {day} are those of a usual day shifted by {shift:+d} hours")


def _best_shift(users: Sequence[int], profile: Sequence[float]) -> tuple[float, int]:
    """Gain in log likelihood of the best shift by two hours or more, and that shift."""
    logs = [math.log(share) for share in profile]
    return max(
        (sum(count * (logs[(hour - shift) % 24] - logs[hour]) for hour, count in enumerate(users)), shift)
        for shift in range(-12, 13)
        if abs(shift) >= LEAST_SHIFT_HOURS
    )


def _profile(days: Iterable[DayCount]) -> list[float]:
    """Share of people by hour of the day, none of them zero."""
    sums = [sum(users) + 0.5 for users in zip(*(one.users for one in days), strict=True)]
    return [one / sum(sums) for one in sums]


def _lag(history: History, day: date) -> Measured:
    """Share of events that were received whole hours before or after they occurred; null where that is usual."""
    found = history.day(day)
    known = history.before(day, DAYS_COMPARED)
    usual = sum(one.shifted for one in known) / max(1, sum(one.events for one in known))
    if found.events < LEAST_EVENTS or usual > 0.1:
        return Measured(None, TOO_LITTLE if usual <= 0.1 else f"{usual:.0%} is usual here")
    share = found.shifted / found.events
    return Measured(share, f"{share:.0%} of the events of {day} were received whole hours away from when they occurred")


def _ids(history: History, day: date) -> Measured:
    """Share of people with a user_id, as a share of the usual one; 1 where days as low are known."""
    found = history.day(day)
    known = [one for one in history.before(day, DAYS_COMPARED) if one.user_hours >= LEAST_USER_HOURS]
    shares = [one.identified / one.user_hours for one in known]
    if found.user_hours < LEAST_USER_HOURS or len(shares) < LEAST_HISTORY_DAYS // 2 or median(shares) < 0.05:
        return Measured(None, TOO_LITTLE)
    share, usual = found.identified / found.user_hours, median(shares)
    words = f"{share:.0%} of the people of {day} have a user_id, usually {usual:.0%}"
    return Measured(share / usual if share < min(shares) else 1.0, words)


def _trackers(history: History, day: date) -> Measured:
    """Events that fell silent while the rest went on: how many; what is missed must be too much for chance.

    How often an event is to be expected follows from its share of the days before it fell silent, and from how busy
    the silent days were. After ``LONGEST_MEMORY_DAYS`` an event counts as retired.
    """
    silent: dict[Unit, str] = {}
    for unit, users in history.units.items():
        seen = [one for one in users if one <= day]
        last = max(seen, default=None)
        if last is None or last == day or (day - last).days > LONGEST_MEMORY_DAYS:
            continue
        before = history.before(last + timedelta(days=1), DAYS_COMPARED)
        if len(before) < LEAST_HISTORY_DAYS:
            continue
        dates = [last - timedelta(days=number) for number in range(len(before))]
        hours = [history.day(one).user_hours for one in dates]
        share = sum(users.get(one, 0) for one in dates) / max(1, sum(hours))
        since = [history.day(last + timedelta(days=number)) for number in range(1, (day - last).days + 1)]
        missed = share * sum(one.user_hours for one in since)
        # A rare event is had by the same few people day after day, so more days tell less than as many people.
        needed = LEAST_MISSED_OF_EVENT * _clustering(
            [users.get(one, 0) for one in dates], [share * one for one in hours]
        )
        if missed >= needed * math.sqrt(len(since)):
            silent[unit] = f"{unit[0]} (last on {last}, about {missed:.0f} people missed)"
    gone = {
        name for name, _ in silent if not any(one[0] == name and day in users for one, users in history.units.items())
    }
    behaviours = {one[1] for one in silent} | {one[1] for one in history.units if one[0] in gone}
    names = sorted(set(silent.values()))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    words = f"silent: {', '.join(names[:3])}{more}" if names else f"every frequent event came on {day}"
    return Measured(float(len(silent)), words, frozenset(behaviours - {""}))


def _renamed(history: History, day: date) -> Measured:
    """How much of what people usually do under mapped names they did under unmapped ones; 0 where it is not clear.

    What people do is counted as in ``History.units``: each name once a person and day. Mapped names must have lost it
    both by the people who came and by the weekday, and unmapped ones gained as much: on a holiday nothing is gained, a
    new event takes nothing away from the others, and one that comes every hour of the night adds hours and few acts.
    """
    dates = [day - timedelta(days=back) for back in range(1, 1 + len(history.before(day, DAYS_COMPARED)))]
    hours = {one: found for one in (day, *dates) if (found := history.day(one).user_hours)}
    known = [one for one in dates if one in hours]
    if hours.get(day, 0) < LEAST_USER_HOURS or len(known) < LEAST_HISTORY_DAYS // 2:
        return Measured(None, TOO_LITTLE)
    mapped, unmapped = (
        {one: history.acts(one, is_mapped=is_mapped) / hours[one] for one in hours} for is_mapped in (True, False)
    )
    usual = median(mapped[one] for one in known)
    weeks = min(WEEKS_COMPARED, (day - history.first).days // 7)
    on_weekday = median(history.acts(day - timedelta(weeks=week), is_mapped=True) for week in range(1, weeks + 1))
    if not usual or not on_weekday:
        return Measured(None, TOO_LITTLE)
    lost_by_weekday = 1 - history.acts(day, is_mapped=True) / on_weekday
    gained = unmapped[day] - median(unmapped[one] for one in known)
    share = max(0.0, min((usual - mapped[day]) / usual, lost_by_weekday, gained / usual))
    if _sigmas(mapped[day], hours[day], [(mapped[one], hours[one]) for one in known]) > -DENSITY_SIGMAS:
        share = 0.0
    words = f"{share:.0%} of what people usually do under names of the event catalogue came under others on {day}"
    return Measured(share, words, _fallen(history, day, known, share))


def _fallen(history: History, day: date, known: Sequence[date], share: float) -> frozenset[str]:
    """Behaviours that fell silent, and those that lost at least half of a share and more than chance takes."""
    found: dict[str, int] = defaultdict(int)
    before: dict[str, int] = defaultdict(int)
    for (_, behaviour), users in history.units.items():
        found[behaviour] += users.get(day, 0)
        before[behaviour] += sum(users.get(one, 0) for one in known)
    as_busy = history.day(day).user_hours / sum(history.day(one).user_hours for one in known)
    expected = {behaviour: count * as_busy for behaviour, count in before.items() if behaviour}
    return frozenset(
        behaviour
        for behaviour, count in expected.items()
        if not found[behaviour] or count - found[behaviour] >= max(share / 2 * count, 2 * math.sqrt(count))
    )


def _clustering(found: Sequence[int], expected: Sequence[float]) -> float:
    """Variance of counts as a multiple of that of independent ones, at least 1."""
    squares = [(count - mean) ** 2 / mean for count, mean in zip(found, expected, strict=True) if mean]
    return max(1.0, sum(squares) / max(1, len(squares)))


def _spread(values: Sequence[float]) -> float:
    """Standard deviation as the median absolute deviation tells it."""
    middle = median(values)
    return MAD_TO_SIGMA * median(abs(value - middle) for value in values)
