"""Measures of one complete day of a source: numbers that are null where there is too little to compare with.

Every measure compares with the source's own past. A day on which everything is quieter in proportion, such as a public
holiday, is no fault. Three things distinguish lost or doubled rows from fewer or more people: how many events a person
has in an hour, at which hours of the day there is nobody, and whether a single event name is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from statistics import median

from orchestration.gates.source_event_names import measure_renamed_names, measure_silent_names
from orchestration.gates.source_history import LEAST_HISTORY_DAYS, DayCount, History
from orchestration.gates.source_statistics import (
    DAYS_COMPARED,
    DENSITY_SIGMAS,
    LEAST_USER_HOURS,
    SMALLEST_SPREAD,
    TOO_LITTLE,
    WEEKS_COMPARED,
    Measured,
    robust_spread,
    sigmas_from_usual,
)

LEAST_SAME_WEEKDAYS = 3
# With fewer events on a usual day, their absence means nothing.
LEAST_EVENTS = 20
# A Poisson number with this mean is zero with a chance of 1 in 20,000; people are more alike than that.
LEAST_MISSED = 10.0
LEAST_SILENT_SHARE = 0.15
NEARLY_NOTHING = 0.05
ROBUST_WIDTH = 4.0
# Variance of a day's hours of people, as a multiple of the variance of independent ones.
CLUSTERING = 1.5
LEAST_SHIFT_HOURS = 2
LEAST_SHIFT_EVIDENCE = 10.0


HISTORY_MEASURES = (
    "volume",
    "volume_low",
    "volume_high",
    "density_low",
    "density_high",
    "silence",
    "hours",
    "lag",
    "ids",
    "trackers",
    "renamed",
)


def measure_day(history: History, day: date) -> dict[str, Measured]:
    """Measures of one complete day by check; a value is null where it cannot be measured.

    Args:
        history: of the source; days after ``day`` are not read.
        day: in the reporting time zone.

    """
    if not history.is_known(day):
        return dict.fromkeys(HISTORY_MEASURES, Measured(None, TOO_LITTLE))
    return {
        **_volume(history, day),
        **_density(history, day),
        "silence": _silence(history, day),
        "hours": _hours(history, day),
        "lag": _lag(history, day),
        "ids": _ids(history, day),
        "trackers": measure_silent_names(history, day),
        "renamed": measure_renamed_names(history, day),
    }


def _volume(history: History, day: date) -> dict[str, Measured]:
    """The day's events, as a share of the median of the same weekday.

    A surge must also be one against the largest of these days: with two holidays in three weeks the median is low.
    """
    names = ("volume", "volume_low", "volume_high")
    events = history.day(day).events
    weeks = min(WEEKS_COMPARED, (day - history.first).days // 7)
    known = [history.day(day - timedelta(weeks=week)) for week in range(1, weeks + 1)]
    usual = median(count.events for count in known) if len(known) >= LEAST_SAME_WEEKDAYS else 0
    if usual < LEAST_EVENTS:
        return dict.fromkeys(names, Measured(None, f"{events} events on {day}; {TOO_LITTLE}"))
    ratio = events / usual
    logs = [math.log1p(count.events) for count in known]
    usual_users = median(count.user_hours for count in known)
    # So few days may be alike by chance, but hardly more alike than the days of people who come independently.
    chance = math.sqrt(SMALLEST_SPREAD**2 + CLUSTERING / max(1, usual_users))
    width = ROBUST_WIDTH * max(chance, robust_spread(logs))
    low, high = math.expm1(median(logs) - width), math.expm1(median(logs) + width)
    words = f"{events} events on {day:%A %d %B %Y}, {ratio:.2f} of the {usual:.0f} usual on that weekday"
    outside = not low <= events <= high
    nothing = ratio < NEARLY_NOTHING and usual_users >= LEAST_MISSED
    surge = events > high and events > 2 * max(count.events for count in known)
    return {
        "volume": Measured(ratio if outside else 1.0, f"{words} (there: {max(low, 0):.0f} to {high:.0f})"),
        "volume_low": Measured(ratio if outside and nothing else max(ratio, 1.0), words),
        "volume_high": Measured(ratio if surge else min(ratio, 1.0), words),
    }


def _density(history: History, day: date) -> dict[str, Measured]:
    """Events that a person has in an hour, as a share of the usual number.

    Rows that are lost at random lower it, rows that came twice with new ids raise it; fewer people do neither.
    """
    found = history.day(day)
    known = [count for count in history.before(day, DAYS_COMPARED) if count.user_hours]
    if not found.user_hours or len(known) < LEAST_HISTORY_DAYS // 2:
        return dict.fromkeys(("density_low", "density_high"), Measured(None, TOO_LITTLE))
    usual = median(count.density for count in known)
    sigmas = sigmas_from_usual(found.density, found.user_hours, [(count.density, count.user_hours) for count in known])
    ratio = found.density / usual
    words = f"{found.density:.1f} events a person and hour on {day}, usually {usual:.1f}"
    is_clear = abs(sigmas) >= DENSITY_SIGMAS and found.user_hours >= LEAST_USER_HOURS
    return {
        "density_low": Measured(ratio if is_clear else 1.0, words),
        "density_high": Measured(ratio if is_clear else 1.0, words),
    }


def _silence(history: History, day: date) -> Measured:
    """People who are missing in the longest silence of the day, given how many came at its other hours."""
    known = history.before(day, DAYS_COMPARED)
    profile = _profile(known)
    found = history.day(day)
    weight, first, length = _longest_silence(found.users, profile)
    weeks = min(WEEKS_COMPARED, (day - history.first).days // 7)
    usual = median(history.day(day - timedelta(weeks=week)).user_hours for week in range(1, weeks + 1))
    # A lower bound for the people of the other hours; the day cannot miss more people than usually come.
    seen = max(0.0, found.user_hours - 2 * math.sqrt(found.user_hours))
    missed = weight * min(usual, seen / (1 - weight) if weight < 1 else 0.0)
    known_silences = [_longest_silence(count.users, profile)[0] for count in known if count.user_hours >= seen]
    words = (
        f"{length} hours without an event on {day} from {first:02d}:00 UTC" if length else f"no silent hour on {day}"
    )
    words += f", in which {weight:.0%} of a day's people come"
    beyond = weight > max(LEAST_SILENT_SHARE, 1.2 * max(known_silences, default=1.0))
    return Measured(missed if beyond else 0.0, words)


def _longest_silence(users: Sequence[int], profile: Sequence[float]) -> tuple[float, int, int]:
    """The stretch of empty hours in which most people would have come: their share, its first hour, its length."""
    best, start = (0.0, 0, 0), 0
    for hour in range(25):
        if hour == 24 or users[hour]:
            best = max(best, (sum(profile[start:hour]), start, hour - start))
            start = hour + 1
    return best


def _hours(history: History, day: date) -> Measured:
    """By how many hours the day's profile is shifted against the usual profile; 0 where that is not clear.

    One hour is daylight saving. A day is shifted only if the evidence is much stronger than on any day before.
    """
    known = history.before(day, DAYS_COMPARED)
    profile = _profile(known)
    gain, shift = _best_shift(history.day(day).users, profile)
    usual = max((_best_shift(count.users, profile)[0] for count in known), default=0.0)
    clear = gain >= LEAST_SHIFT_EVIDENCE and gain > 1.5 * usual
    if not clear:
        return Measured(0.0, f"the usual hours of the day on {day}")
    return Measured(float(shift), f"the hours of {day} are those of a usual day shifted by {shift:+d} hours")


def _best_shift(users: Sequence[int], profile: Sequence[float]) -> tuple[float, int]:
    """The best shift by two hours or more: its gain in log likelihood, and the shift."""
    logs = [math.log(share) for share in profile]
    return max(
        (sum(count * (logs[(hour - shift) % 24] - logs[hour]) for hour, count in enumerate(users)), shift)
        for shift in range(-12, 13)
        if abs(shift) >= LEAST_SHIFT_HOURS
    )


def _profile(days: Iterable[DayCount]) -> list[float]:
    """Share of people by hour of the day; no share is zero."""
    sums = [sum(users) + 0.5 for users in zip(*(count.users for count in days), strict=True)]
    return [hour / sum(sums) for hour in sums]


def _lag(history: History, day: date) -> Measured:
    """Share of events that were received whole hours before or after they occurred; null where that is usual."""
    found = history.day(day)
    known = history.before(day, DAYS_COMPARED)
    usual = sum(count.shifted for count in known) / max(1, sum(count.events for count in known))
    if found.events < LEAST_EVENTS or usual > 0.1:
        return Measured(None, TOO_LITTLE if usual <= 0.1 else f"{usual:.0%} is usual here")
    share = found.shifted / found.events
    return Measured(share, f"{share:.0%} of the events of {day} were received whole hours away from when they occurred")


def _ids(history: History, day: date) -> Measured:
    """Share of people with a user_id, divided by the usual share; 1 where a day as low is known."""
    found = history.day(day)
    known = [count for count in history.before(day, DAYS_COMPARED) if count.user_hours >= LEAST_USER_HOURS]
    shares = [count.identified / count.user_hours for count in known]
    if found.user_hours < LEAST_USER_HOURS or len(shares) < LEAST_HISTORY_DAYS // 2 or median(shares) < 0.05:
        return Measured(None, TOO_LITTLE)
    share, usual = found.identified / found.user_hours, median(shares)
    words = f"{share:.0%} of the people of {day} have a user_id, usually {usual:.0%}"
    return Measured(share / usual if share < min(shares) else 1.0, words)
