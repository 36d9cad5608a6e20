"""The door in: what each source delivered since it was judged last, compared with that source's own past.

A critical check that fails withholds the traits that it touches: those that need a behaviour of the source (or of the
event that fell silent), and, where the whole source is in doubt, those that need none. A warning is only shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.gates.engine import Expected, run_suite
from orchestration.gates.source_days import count_source_days
from orchestration.gates.source_measures import (
    LEAST_MISSED,
    TOO_LITTLE,
    DayCount,
    History,
    Measured,
    Unit,
    measure_day,
)
from orchestration.gates.source_verdicts import (
    SourceVerdict,
    last_source_verdicts,
    save_source_verdicts,
)
from orchestration.gates.verdicts import Check, Verdict, with_check
from orchestration.home import Notify, silent, utc_now
from orchestration.transform.build import Build
from orchestration.transform.clock import local_date
from orchestration.transform.dbt import Project

INPUTS = "inputs"
# A catch-up of more days is judged by its newest ones.
MOST_DAYS = 7
# A source that has been silent for longer has ended.
LONGEST_PAUSE_DAYS = 7


@dataclass(frozen=True)
class SourceCheck:
    """One expectation of a source: limits of its measure, and what a person does when it fails."""

    name: str
    severity: str
    low: float | None
    high: float | None
    expected: str
    remedy: str

    def refuses(self, measured: Measured) -> bool:
        """Whether a measure lies outside the limits; one that could not be taken does not."""
        value = measured.value
        if value is None:
            return False
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)


_RELOAD = "Load what is missing and refresh"
_QUARANTINE = "raw.rejected_events and events.quarantined_events hold the rows; repair the export or its mapping"
_DOUBLED = "raw.loads tells which load brought them; send it right, or wait: each new day is judged by itself"
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
)
SOURCE_CHECKS = {check.name: check for check in (*LOAD_CHECKS, *DAY_CHECKS)}


def source_check_names() -> list[str]:
    """Names of all checks of a source."""
    return [*ROW_CHECKS, *SOURCE_CHECKS]


def judge_sources(
    connection: duckdb.DuckDBPyConnection, project: Project, build: Build, *, notify: Notify = silent
) -> list[SourceVerdict]:
    """Judges every source of the current build, and keeps the verdicts; judging again gives the same.

    Args:
        connection: the warehouse, after dbt has run.
        project: what is declared.
        build: the current one.
        notify: progress.

    """
    if not _has_event_log(connection):
        return []
    loaded_until = _loaded_until(connection, build)
    today = local_date(build.as_of, project.time_zone)
    count_source_days(
        connection,
        newest_day=today,
        loaded_until=loaded_until,
        fingerprint=build.fingerprint,
        time_zone=project.time_zone,
        bucket_minutes=int(project.variables["session_gap_minutes"]),
        rebuild=build.full_refresh,
    )
    last = last_source_verdicts(connection, build.build_id)
    verdicts = []
    for source, history in read_histories(connection, until=today - timedelta(days=1)).items():
        loads = _new_loads(connection, source, build, loaded_until, last.get(source))
        days = _days_to_judge(history, last.get(source))
        verdicts.append(_judge(connection, project.catalog, build, source, history, loads, days))
        notify(f"gate {source}: {verdicts[-1].verdict}")
    save_source_verdicts(connection, build.build_id, build.as_of, verdicts)
    return verdicts


def with_inputs(verdict: Verdict, sources: Iterable[SourceVerdict]) -> Verdict:
    """A trait's verdict with one more check: that no source that it is made of has failed."""
    failed = [one for one in sources if one.verdict == "failed" and verdict.trait in one.touched]
    found = " ".join(f"Its source {one.source} failed its gate: {one.reason}" for one in failed)
    return with_check(verdict, INPUTS, "no failed source that it needs", found)


@dataclass(frozen=True)
class _Loads:
    """Loads of a source that are judged: above ``after``, up to ``until``."""

    after: int
    until: int


def _has_event_log(connection: duckdb.DuckDBPyConnection) -> bool:
    found = "select 1 from duckdb_tables() where schema_name = 'events' and table_name = 'event_log'"
    return connection.execute(found).fetchone() is not None


def _loaded_until(connection: duckdb.DuckDBPyConnection, build: Build) -> int:
    """Newest load that the event log holds: a part of the project may be built without it, and it may have failed."""
    made = "select 1 from state.node_results where build_id = $1 and name = 'event_log' and status = 'success'"
    if connection.execute(made, [build.build_id]).fetchone():
        return build.loaded_until
    row = connection.execute("select load_id from state.watermark").fetchone()
    return int(row[0]) if row else build.loaded_after


def read_histories(connection: duckdb.DuckDBPyConnection, until: date) -> dict[str, History]:
    """What each source delivered, by day; later days are left out."""
    days: dict[str, dict[date, DayCount]] = {}
    for source, day, hour, events, users, identified, shifted in connection.execute(
        """
        select source, day, cast(hour(hour) as integer), events, users, identified, shifted
        from state.source_hours where day <= $1
        """,
        [until],
    ).fetchall():
        found = days.setdefault(source, {}).setdefault(day, DayCount())
        found.events += events
        found.identified += identified
        found.shifted += shifted
        found.users[hour] += users
    units: dict[str, dict[Unit, dict[date, int]]] = {}
    for source, name, behaviour, day, users in connection.execute(
        "select source, event_name, behaviour, day, users from state.source_days where day <= $1", [until]
    ).fetchall():
        units.setdefault(source, {}).setdefault((name, behaviour), {})[day] = users
    return {source: History(days[source], units.get(source, {}), until) for source in sorted(days)}


def _new_loads(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    build: Build,
    loaded_until: int,
    last: SourceVerdict | None,
) -> _Loads:
    """What came since the last verdict; when nothing did, what that verdict was about, for it still stands."""
    if last is None:
        return _Loads(build.loaded_after, loaded_until)
    came = connection.execute(
        f"""
        select 1 from raw.loads where source = $1 and load_id > $2 and load_id <= $3 and accepted > 0
        union all
        select 1 from ({_new_rows(source, _Loads(last.loaded_until, loaded_until))})
        limit 1
        """,
        [source, last.loaded_until, loaded_until],
    ).fetchone()
    return _Loads(last.loaded_until, loaded_until) if came else _Loads(last.loaded_after, last.loaded_until)


def _days_to_judge(history: History, last: SourceVerdict | None) -> list[date]:
    """Days completed since the last verdict; the same as then when none was; none when a source is seen first.

    A source that has fallen behind is judged by the last day that it delivered: that it is behind, is another check.
    """
    newest = min(history.until, history.last)
    if last is None:
        return []
    first = last.last_day + timedelta(days=1) if newest > last.last_day else last.first_day
    if first is None:
        return []
    first = max(first, newest - timedelta(days=MOST_DAYS - 1))
    return [first + timedelta(days=number) for number in range((newest - first).days + 1)]


def _judge(
    connection: duckdb.DuckDBPyConnection,
    catalog: Catalog,
    build: Build,
    source: str,
    history: History,
    loads: _Loads,
    days: Sequence[date],
) -> SourceVerdict:
    try:
        rows = _new_rows(source, loads)
        checks = run_suite(connection, f"source {source}", rows, row_suite())
        of_loads = _measure_loads(connection, source, loads, rows) | {"arrival": _arrival(history)}
        measures = [of_loads | one for one in ([measure_day(history, day) for day in days] or [_nothing_to_judge()])]
        checks += run_suite(connection, f"source {source} measures", _as_query(measures), measure_suite())
        checks = tuple(_in_words(check, measures) for check in checks)
    except Exception as error:  # a gate that cannot be evaluated lets nothing through, and holds no other source
        why = f"could not be evaluated: {' '.join(str(error).split())[:300]}"
        checks, measures = (Check("evaluated", False, "critical", "a gate that can be evaluated", why),), []
    failed = [check for check in checks if not check.passed]
    critical = [check for check in failed if check.severity == "critical"]
    return SourceVerdict(
        build_id=build.build_id,
        source=source,
        as_of=build.as_of,
        loaded_after=loads.after,
        loaded_until=loads.until,
        first_day=days[0] if days else None,
        last_day=min(history.until, history.last),
        verdict="failed" if critical else "warned" if failed else "passed",
        reason=" ".join(_sentence(check) for check in critical or failed),
        checks=checks,
        touched=_touched(catalog, history, critical, measures),
        decided_at=utc_now(),
    )


def _sentence(check: Check) -> str:
    declared = SOURCE_CHECKS.get(check.name)
    remedy = f" {declared.remedy}." if declared else ""
    return f"{check.name}: expected {check.expected}, found {check.observed}.{remedy}"


def _touched(
    catalog: Catalog, history: History, critical: Sequence[Check], measures: Sequence[Mapping[str, Measured]]
) -> tuple[str, ...]:
    """Traits that need what is in doubt; when all of the source is, also those that need nothing in particular."""
    delivered = {behaviour for _, behaviour in history.units}
    doubted: set[str] = set()
    for check in critical:
        declared = SOURCE_CHECKS.get(check.name)
        found = [one[check.name] for one in measures if declared and declared.refuses(one[check.name])]
        about = [one.behaviours for one in found]
        if not about or None in about:
            return tuple(trait.name for trait in catalog.traits if not trait.needs or delivered & set(trait.needs))
        doubted.update(*(one for one in about if one is not None))
    return tuple(trait.name for trait in catalog.traits if doubted & set(trait.needs))


def _new_rows(source: str, loads: _Loads) -> str:
    """SQL of a source's events of these loads."""
    name = source.replace("'", "''")
    return f"""
        select
            log.event_id, kinds.event_name, log.occurred_at, log.received_at, log.node_key as entity, log.load_id,
            coalesce(rules.behaviour, '') = '' as is_unmapped
        from events.event_log as log
        inner join events.event_kinds as kinds on log.kind_key = kinds.kind_key
        left join events.catalog_rules as rules on log.rule_key = rules.rule_key
        where kinds.source = '{name}' and log.load_id > {loads.after} and log.load_id <= {loads.until}
    """


def row_suite() -> list[Expected]:
    """What every new event must have."""
    return [
        Expected(name, "expect_column_values_to_not_be_null", {"column": name}, expected=words)
        for name, words in ROW_CHECKS.items()
    ]


def measure_suite() -> list[Expected]:
    """Limits of the measures; a measure that is null is not judged."""
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


def _as_query(measures: Sequence[Mapping[str, Measured]]) -> str:
    """SQL of the measures, one row a judged day."""
    return " union all ".join(
        "select "
        + ", ".join(
            f"cast({'null' if (value := one[name].value) is None else repr(float(value))} as double) as {name}"
            for name in SOURCE_CHECKS
        )
        for one in measures
    )


def _in_words(check: Check, measures: Sequence[Mapping[str, Measured]]) -> Check:
    """The check with what was found in words: of the first day that broke it, else of the newest."""
    declared = SOURCE_CHECKS.get(check.name)
    if declared is None:
        return check
    found = [one[check.name] for one in measures]
    broken = [one.observed for one in found if declared.refuses(one)]
    return replace(check, observed=broken[0] if broken else found[-1].observed)


def _nothing_to_judge() -> dict[str, Measured]:
    return {check.name: Measured(None, f"seen for the first time: {TOO_LITTLE}") for check in DAY_CHECKS}


def _arrival(history: History) -> Measured:
    behind = (history.until - history.last).days
    if behind > LONGEST_PAUSE_DAYS:
        return Measured(None, f"none since {history.last}: the source has ended")
    return Measured(float(behind), f"the last event on {history.last}")


def _measure_loads(connection: duckdb.DuckDBPyConnection, source: str, loads: _Loads, rows: str) -> dict[str, Measured]:
    """Measures of the new rows: what was refused, and of what was not, what is unmapped, late or early."""
    count, unmapped, late, early = connection.execute(
        f"""
        select
            count(*), count(*) filter (is_unmapped),
            count(*) filter (received_at > occurred_at + interval 1 day),
            count(*) filter (received_at < occurred_at - interval 5 minute)
        from ({rows})
        """
    ).fetchone() or (0, 0, 0, 0)
    shares = {"unmapped": unmapped, "lateness": late, "clock_skew": early}
    words = {name: Measured(found / count if count else None, f"{found} of {count}") for name, found in shares.items()}
    refused = _refused(connection, source, loads, rows)
    return words | {"rejected": refused, "rejected_share": refused}


def _refused(connection: duckdb.DuckDBPyConnection, source: str, loads: _Loads, rows: str) -> Measured:
    """Share of the rows of the new loads that were rejected at load or quarantined after it, with the reasons.

    A load of which no row was accepted changed nothing, and `load` has said so.
    """
    total, rejected = connection.execute(
        f"""
        select coalesce(sum(accepted + duplicates + rejected), 0), coalesce(sum(rejected), 0)
        from raw.loads
        where load_id > $1 and load_id <= $2 and accepted > 0
            and (source = $3 or load_id in (select load_id from ({rows})))
        """,
        [loads.after, loads.until, source],
    ).fetchone() or (0, 0)
    reasons = connection.execute(
        f"""
        with refused as (
            select reason, count(*) as count from raw.rejected_events
            where load_id > $1 and load_id <= $2 and (source = $3 or load_id in (select load_id from ({rows})))
                and load_id in (select load_id from raw.loads where accepted > 0)
            group by reason
            union all
            select quarantine_reason, count(*) from events.quarantined_events
            where load_id > $1 and load_id <= $2 and source = $3
            group by quarantine_reason
        )
        select reason, sum(count) from refused group by reason order by 2 desc, 1
        """,
        [loads.after, loads.until, source],
    ).fetchall()
    quarantined = connection.execute(
        "select count(*) from events.quarantined_events where load_id > $1 and load_id <= $2 and source = $3",
        [loads.after, loads.until, source],
    ).fetchone() or (0,)
    refused = rejected + quarantined[0]
    told = ", ".join(f"{reason} ({count})" for reason, count in reasons[:3])
    words = f"{refused} of {total}" + (f": {told}" if told else "")
    return Measured(refused / total if total else None, words)
