"""The source checks: what each source delivered since it was last judged, compared with that source's own past.

A critical check that fails withholds the traits that it touches: those that need a behaviour of the source (or of the
event that fell silent), and, where the whole source is in doubt, those that need no behaviour. A warning is only shown.

Anonymous events are judged by themselves (checks ``anonymous_*``). Their failure touches only traits that declare
``everyone``, and the checks of known users never see them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.gates.candidate_checks import INPUTS
from orchestration.gates.engine import Judged, run_suite
from orchestration.gates.source_checks import (
    ANONYMOUS,
    ANONYMOUS_CHECKS,
    DAY_CHECKS,
    SOURCE_CHECKS,
    judge_measures,
    row_suite,
)
from orchestration.gates.source_days import count_source_days
from orchestration.gates.source_groups import measure_groups
from orchestration.gates.source_history import History, read_histories
from orchestration.gates.source_loads import Loads, loads_to_judge, measure_loads, new_rows
from orchestration.gates.source_measures import measure_day
from orchestration.gates.source_parts import NOTHING_MEASURED, SourcePart, read_outcomes
from orchestration.gates.source_statistics import TOO_LITTLE, Measured
from orchestration.gates.source_verdicts import SourceVerdict, last_source_verdicts, save_source_verdicts
from orchestration.gates.verdicts import Check, Verdict, with_check
from orchestration.home import Notify, silent, utc_now
from orchestration.published.who_counts import counts_everyone
from orchestration.transform.build import Build
from orchestration.transform.clock import local_date
from orchestration.transform.dbt import Project

# Of more days that come at once, only the newest are judged.
MOST_DAYS = 7
# A source that has been silent for longer counts as ended.
LONGEST_PAUSE_DAYS = 7


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
    yesterday = today - timedelta(days=1)
    anonymous = read_histories(connection, until=yesterday, is_anonymous=True)
    for source, history in read_histories(connection, until=yesterday).items():
        loads = loads_to_judge(connection, source, build, loaded_until, last.get(source))
        days = _days_to_judge(history, last.get(source))
        outcomes = read_outcomes(connection, source)
        parts = SourcePart(history, outcomes), SourcePart(anonymous[source], outcomes, ANONYMOUS)
        verdicts.append(_judge(connection, project.catalog, build, source, *parts, loads, days))
        notify(f"gate {source}: {verdicts[-1].verdict}")
    save_source_verdicts(connection, build.build_id, build.as_of, verdicts)
    return verdicts


def with_inputs(verdict: Verdict, sources: Iterable[SourceVerdict]) -> Verdict:
    """A trait's verdict with one more check: that no source that it needs has failed."""
    failed = [source for source in sources if source.verdict == "failed" and verdict.trait in source.touched]
    found = " ".join(f"Its source {source.source} failed its checks: {source.reason}" for source in failed)
    return with_check(verdict, INPUTS, "no failed source that it needs", found)


def _has_event_log(connection: duckdb.DuckDBPyConnection) -> bool:
    found = "select 1 from duckdb_tables() where schema_name = 'events' and table_name = 'event_log'"
    return connection.execute(found).fetchone() is not None


def _loaded_until(connection: duckdb.DuckDBPyConnection, build: Build) -> int:
    """Newest load that the event log holds. This build may have left the event log out, or failed to build it."""
    made = "select 1 from state.node_results where build_id = $1 and name = 'event_log' and status = 'success'"
    if connection.execute(made, [build.build_id]).fetchone():
        return build.loaded_until
    row = connection.execute("select load_id from state.watermark").fetchone()
    return int(row[0]) if row else build.loaded_after


def _days_to_judge(history: History, last: SourceVerdict | None) -> list[date]:
    """Days that were completed since the last verdict; without any, the days of that verdict.

    A source that is seen for the first time has none. A source that has fallen behind is judged by the last day that it
    delivered; the check ``arrival`` shows that it is behind.
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
    known: SourcePart,
    anonymous: SourcePart,
    loads: Loads,
    days: Sequence[date],
) -> SourceVerdict:
    try:
        rows = new_rows(source, loads)
        known.judged = [Judged(check) for check in run_suite(connection, f"source {source}", rows, row_suite())]
        of_loads = measure_loads(connection, source, loads, rows) | {"arrival": _arrival(known.history)}
        of_days = [
            measure_day(known.history, day) | {"groups": measure_groups(connection, source, day)} for day in days
        ]
        known.measures = [{**of_loads, **of_day} for of_day in of_days or [_nothing_to_judge()]]
        of_days = [measure_day(anonymous.history, day) for day in days]
        anonymous.measures = [{**NOTHING_MEASURED, **of_day} for of_day in of_days or [_nothing_to_judge()]]
        judged = judge_measures(connection, source, [*known.measures, *anonymous.measures])
        known.add(judged, first=0)
        of_visitors = [found for found in judged if ANONYMOUS + found.check.name in ANONYMOUS_CHECKS]
        anonymous.add(of_visitors, first=len(known.measures))
    except Exception as error:  # a source that cannot be judged has failed, and the others are judged
        why = f"could not be evaluated: {' '.join(str(error).split())[:300]}"
        known.judged = [Judged(Check("evaluated", False, "critical", "checks that can be evaluated", why))]
        anonymous.judged = []
    of_everyone = {trait.name for trait in catalog.traits if trait.entity == "user" and counts_everyone(trait)}
    by_visitors = anonymous.touched(catalog) & of_everyone
    withholds = [*known.failed("critical"), *(anonymous.failed("critical") if by_visitors else [])]
    failed = [*known.failed(), *anonymous.failed()]
    return SourceVerdict(
        build_id=build.build_id,
        source=source,
        as_of=build.as_of,
        loaded_after=loads.after,
        loaded_until=loads.until,
        first_day=days[0] if days else None,
        last_day=min(known.history.until, known.history.last),
        verdict="failed" if withholds else "warned" if failed else "passed",
        reason=" ".join(_sentence(found.check) for found in withholds or failed),
        checks=tuple(found.check for found in (*known.judged, *anonymous.judged)),
        touched=tuple(sorted(known.touched(catalog) | by_visitors)),
        decided_at=utc_now(),
    )


def _sentence(check: Check) -> str:
    declared = (SOURCE_CHECKS | ANONYMOUS_CHECKS).get(check.name)
    remedy = f" {declared.remedy}." if declared else ""
    return f"{check.name}: expected {check.expected}, found {check.observed}.{remedy}"


def _nothing_to_judge() -> dict[str, Measured]:
    return {check.name: Measured(None, f"seen for the first time: {TOO_LITTLE}") for check in DAY_CHECKS}


def _arrival(history: History) -> Measured:
    """Complete days since the last day with an event."""
    if not history.days:
        return Measured(None, "no event of a known user yet")
    behind = (history.until - history.last).days
    if behind > LONGEST_PAUSE_DAYS:
        return Measured(None, f"none since {history.last}: the source has ended")
    return Measured(float(behind), f"the last event on {history.last}")
