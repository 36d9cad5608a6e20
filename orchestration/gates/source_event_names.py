"""Measures of single event names on one day of a source: names that fell silent, and names that were replaced."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from statistics import median

from orchestration.gates.source_history import LEAST_HISTORY_DAYS, History, Unit
from orchestration.gates.source_statistics import (
    DAYS_COMPARED,
    DENSITY_SIGMAS,
    LEAST_USER_HOURS,
    TOO_LITTLE,
    WEEKS_COMPARED,
    Measured,
    clustering_factor,
    sigmas_from_usual,
)

# Among many event names, a few are silent by chance, so more people must be missing than for a whole source.
LEAST_MISSED_OF_EVENT = 15.0
LONGEST_MEMORY_DAYS = 7


def measure_silent_names(history: History, day: date) -> Measured:
    """How many event names fell silent while the others went on; more people must be missing than chance explains.

    How often a name is expected follows from its share of the days before it fell silent, and from how busy the silent
    days were. After ``LONGEST_MEMORY_DAYS`` a silent name counts as retired.
    """
    silent: dict[Unit, str] = {}
    for unit, users in history.units.items():
        last = max((seen for seen in users if seen <= day), default=None)
        if last is None or last == day or (day - last).days > LONGEST_MEMORY_DAYS:
            continue
        before = history.before(last + timedelta(days=1), DAYS_COMPARED)
        if len(before) < LEAST_HISTORY_DAYS:
            continue
        dates = [last - timedelta(days=number) for number in range(len(before))]
        hours = [history.day(on_date).user_hours for on_date in dates]
        share = sum(users.get(on_date, 0) for on_date in dates) / max(1, sum(hours))
        since = [history.day(last + timedelta(days=number)) for number in range(1, (day - last).days + 1)]
        missed = share * sum(count.user_hours for count in since)
        # A rare event comes from the same few people day after day, so more days mean less than more people.
        needed = LEAST_MISSED_OF_EVENT * clustering_factor(
            [users.get(on_date, 0) for on_date in dates], [share * hour for hour in hours]
        )
        if missed >= needed * math.sqrt(len(since)):
            silent[unit] = f"{unit[0]} (last on {last}, about {missed:.0f} people missed)"
    gone = {
        name
        for name, _ in silent
        if not any(other == name and day in users for (other, _), users in history.units.items())
    }
    behaviours = {behaviour for _, behaviour in silent}
    behaviours |= {behaviour for name, behaviour in history.units if name in gone}
    names = sorted(set(silent.values()))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    words = f"silent: {', '.join(names[:3])}{more}" if names else f"every frequent event came on {day}"
    return Measured(float(len(silent)), words, frozenset(behaviours - {""}))


def measure_renamed_names(history: History, day: date) -> Measured:
    """The share of what people usually do under mapped names that came under unmapped names; 0 where it is not clear.

    What people do is counted as in ``History.units``: each name once for each person and day. Mapped names must have
    lost it both in relation to the people who came and to the weekday, and unmapped names must have gained as much. On
    a holiday nothing is gained; a new event takes nothing away from the others; an event that comes every hour of the
    night adds hours and few acts.
    """
    dates = [day - timedelta(days=back) for back in range(1, 1 + len(history.before(day, DAYS_COMPARED)))]
    hours = {on_date: found for on_date in (day, *dates) if (found := history.day(on_date).user_hours)}
    known = [on_date for on_date in dates if on_date in hours]
    if hours.get(day, 0) < LEAST_USER_HOURS or len(known) < LEAST_HISTORY_DAYS // 2:
        return Measured(None, TOO_LITTLE)
    mapped, unmapped = (
        {on_date: history.acts(on_date, is_mapped=is_mapped) / hours[on_date] for on_date in hours}
        for is_mapped in (True, False)
    )
    usual = median(mapped[on_date] for on_date in known)
    weeks = min(WEEKS_COMPARED, (day - history.first).days // 7)
    on_weekday = median(history.acts(day - timedelta(weeks=week), is_mapped=True) for week in range(1, weeks + 1))
    if not usual or not on_weekday:
        return Measured(None, TOO_LITTLE)
    lost_by_weekday = 1 - history.acts(day, is_mapped=True) / on_weekday
    gained = unmapped[day] - median(unmapped[on_date] for on_date in known)
    share = max(0.0, min((usual - mapped[day]) / usual, lost_by_weekday, gained / usual))
    if (
        sigmas_from_usual(mapped[day], hours[day], [(mapped[on_date], hours[on_date]) for on_date in known])
        > -DENSITY_SIGMAS
    ):
        share = 0.0
    words = f"{share:.0%} of what people usually do under names of the event catalogue came under others on {day}"
    return Measured(share, words, _fallen(history, day, known, share))


def _fallen(history: History, day: date, known: Sequence[date], share: float) -> frozenset[str]:
    """Behaviours that fell silent, and those that lost at least half of a share and more than chance explains."""
    found: dict[str, int] = defaultdict(int)
    before: dict[str, int] = defaultdict(int)
    for (_, behaviour), users in history.units.items():
        found[behaviour] += users.get(day, 0)
        before[behaviour] += sum(users.get(on_date, 0) for on_date in known)
    as_busy = history.day(day).user_hours / sum(history.day(on_date).user_hours for on_date in known)
    expected = {behaviour: count * as_busy for behaviour, count in before.items() if behaviour}
    return frozenset(
        behaviour
        for behaviour, count in expected.items()
        if not found[behaviour] or count - found[behaviour] >= max(share / 2 * count, 2 * math.sqrt(count))
    )
