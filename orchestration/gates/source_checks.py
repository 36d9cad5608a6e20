"""What is expected of a source: the declared checks, their limits, and the suites that hold them.

Great Expectations compares the measures with the limits; nothing else does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from orchestration.gates.engine import Expected, Judged, run_suite_by_row
from orchestration.gates.source_measures import LEAST_MISSED
from orchestration.gates.source_statistics import Measured


@dataclass(frozen=True)
class SourceCheck:
    """One expectation of a source: the limits of a measure.

    Attributes:
        name: of the check and of the measure.
        severity: critical withholds traits; warning is only shown.
        low: the least that passes; null for no limit.
        high: the most that passes; null for no limit.
        expected: in words, for a person.
        remedy: what a person does when it fails, as a sentence without its full stop.

    """

    name: str
    severity: str
    low: float | None
    high: float | None
    expected: str
    remedy: str


_RELOAD = "Load what is missing and refresh"
_QUARANTINE = "raw.rejected_events and events.quarantined_events hold the rows; repair the export or its mapping"
_DOUBLED = "raw.loads says which load brought them; send it right, or wait: each new day is judged by itself"
_CLOCK = "Say the time zone of the export (traithouse load --timezone), or repair the sender's clock"

ROW_CHECKS = {
    "event_id": "every event_id known",
    "event_name": "every event_name known",
    "occurred_at": "every occurred_at known",
    "entity": "a user_id or an anonymous_id in every event",
}
LOAD_CHECKS = (
    SourceCheck("rejected", "critical", None, 0.5, "at most half of the new rows refused", _QUARANTINE),
    SourceCheck("rejected_share", "warning", None, 0.05, "at most 5% of the new rows refused", _QUARANTINE),
    SourceCheck(
        "unmapped",
        "warning",
        None,
        0.1,
        "at most 10% of the new events without a row in the event catalogue",
        "traithouse catalog suggest writes the rows",
    ),
    SourceCheck(
        "lateness",
        "warning",
        None,
        0.1,
        "at most 10% of the new events received more than a day after they occurred",
        "Look why the sender holds them back; their days are computed again as they come",
    ),
    SourceCheck(
        "clock_skew",
        "warning",
        None,
        0.05,
        "at most 5% of the new events received more than 5 minutes before they occurred",
        _CLOCK,
    ),
    SourceCheck(
        "arrival",
        "warning",
        None,
        0,
        "events on the newest complete day",
        f"{_RELOAD}, or wait for the next load",
    ),
)
DAY_CHECKS = (
    SourceCheck("volume_low", "critical", 0.05, None, "at least 5% of the events usual on that weekday", _RELOAD),
    SourceCheck("volume_high", "critical", None, 4, "at most 4 times the events usual on that weekday", _DOUBLED),
    SourceCheck("volume", "warning", 0.99, 1.01, "events within the usual range of that weekday", _RELOAD),
    SourceCheck("density_low", "critical", 0.55, None, "at least 55% of the usual events a person and hour", _RELOAD),
    SourceCheck("density_high", "critical", None, 1.7, "at most 170% of the usual events a person and hour", _DOUBLED),
    SourceCheck(
        "silence",
        "critical",
        None,
        LEAST_MISSED,
        "no silence longer than any on days as busy",
        _RELOAD,
    ),
    SourceCheck("hours", "critical", -1, 1, "people at their usual hours of the day", _CLOCK),
    SourceCheck(
        "lag", "critical", None, 0.5, "at most half of the events received whole hours off their occurred_at", _CLOCK
    ),
    SourceCheck(
        "ids",
        "critical",
        0.5,
        None,
        "at least half of the usual share of events with a user_id",
        "Look whether the sender still identifies its users, or which column holds their id now",
    ),
    SourceCheck(
        "trackers",
        "critical",
        None,
        0,
        "no frequent event fallen silent while the rest goes on",
        "Look whether it is still sent, or has another name now (traithouse catalog suggest)",
    ),
    SourceCheck(
        "renamed",
        "critical",
        None,
        0.2,
        "at most 20% of what people usually do under names that the event catalogue does not know",
        "traithouse catalog suggest writes the rows of the event catalogue",
    ),
    SourceCheck(
        "groups",
        "critical",
        None,
        0,
        "no account, plan or country without any of its usual users",
        "Look whether their rows were lost on the way; load them, or waive it if they did stay away",
    ),
)
# Checks of anonymous events, which are judged by themselves: their prefix, and the checks that have no such part.
ANONYMOUS = "anonymous_"
_OF_KNOWN_USERS = ("ids", "groups")
ANONYMOUS_CHECKS = {
    f"{ANONYMOUS}{check.name}": replace(
        check, name=f"{ANONYMOUS}{check.name}", expected=f"of anonymous visitors, {check.expected}"
    )
    for check in DAY_CHECKS
    if check.name not in _OF_KNOWN_USERS
}
# Column of the day's place in the list of measures.
_PLACE = "place"
SOURCE_CHECKS = {check.name: check for check in (*LOAD_CHECKS, *DAY_CHECKS)}


MEASURED_CHECKS = SOURCE_CHECKS | ANONYMOUS_CHECKS


def source_check_names() -> list[str]:
    """Names of all checks of a source."""
    return [*ROW_CHECKS, *MEASURED_CHECKS]


def row_suite() -> list[Expected]:
    """What every new event must have."""
    return [
        Expected(name, "expect_column_values_to_not_be_null", {"column": name}, expected=words)
        for name, words in ROW_CHECKS.items()
    ]


def measure_suite() -> list[Expected]:
    """Limits of the measures; a measure that is null passes."""
    return [
        Expected(
            check.name,
            "expect_column_values_to_be_between",
            {"column": check.name, "min_value": check.low, "max_value": check.high},
            severity=check.severity,
            expected=check.expected,
        )
        for check in SOURCE_CHECKS.values()
    ]


def judge_measures(
    connection: duckdb.DuckDBPyConnection, source: str, measures: Sequence[Mapping[str, Measured]]
) -> tuple[Judged, ...]:
    """Compares measures with their limits.

    Args:
        connection: the warehouse.
        source: whose measures.
        measures: by check, one mapping for each day.

    Returns:
        The checks of ``SOURCE_CHECKS``; a broken row is a place in ``measures``.

    """
    return run_suite_by_row(connection, f"source {source} measures", _measures_query(measures), measure_suite(), _PLACE)


def _measures_query(measures: Sequence[Mapping[str, Measured]]) -> str:
    """SQL of the measures: one row a day with its place and a column a check."""
    return " union all ".join(
        f"select {place} as {_PLACE}, "
        + ", ".join(f"cast({_literal(of_day[name].value)} as double) as {name}" for name in SOURCE_CHECKS)
        for place, of_day in enumerate(measures)
    )


def _literal(value: float | None) -> str:
    return "null" if value is None else repr(float(value))
