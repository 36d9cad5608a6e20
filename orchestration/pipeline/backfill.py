"""``traithouse backfill``: the past is replayed day by day and written as history."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.errors import UsageError
from orchestration.home import Notify, silent
from orchestration.landing.batch import transaction
from orchestration.measurement.replay import Replay, is_publishable, last_date
from orchestration.publishing.backfill import Missing, backfill_id, backfill_trait, missing_days
from orchestration.publishing.snapshot import served_build, write_snapshot
from orchestration.transform.clock import end_of_day, local_date
from orchestration.transform.dbt import Project
from orchestration.transform.fingerprint import project_fingerprint
from orchestration.transform.state_tables import STATE_TABLES


@dataclass(frozen=True)
class BackfilledTrait:
    """What a backfill did with one trait; all but ``changes`` count days.

    Attributes:
        trait: its name.
        written: written now.
        insufficient_evidence: of those written, days without enough evidence; they changed nothing.
        already_published: at or after its first publish, left as they are.
        already_backfilled: written by an earlier backfill, left as they are.
        other_version: of those already backfilled, days written by another version of the definition.
        changes: rows added to the ledger.

    """

    trait: str
    written: int = 0
    insufficient_evidence: int = 0
    already_published: int = 0
    already_backfilled: int = 0
    other_version: int = 0
    changes: int = 0


@dataclass(frozen=True)
class HistoryDay:
    """One day of one trait, as a backfill wrote it.

    Attributes:
        trait: whose.
        day: in the reporting time zone.
        as_of: the midnight that ends it, naive UTC.
        version: of the definition.
        publishable: whether publishing would have published it; else the day changed nothing.
        population: entities that were evaluated.
        members: of these, with the trait (other types: with a value).
        changes: rows added to the ledger.

    """

    trait: str
    day: date
    as_of: datetime
    version: int
    publishable: bool
    population: int
    members: int
    changes: int

    @property
    def build_id(self) -> str:
        """What stands in the ledger where a build's name stands."""
        return backfill_id(self.as_of)


def ignore(day: HistoryDay) -> None:
    """Does nothing with a day."""


@dataclass(frozen=True)
class BackfillReport:
    """What a backfill did.

    Attributes:
        first: first day asked for.
        last: last day asked for.
        before_events: days left out because they lie before the first event.
        traits: by trait.

    """

    first: date
    last: date
    before_events: int
    traits: tuple[BackfilledTrait, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def backfill(
    project: Project,
    first: date,
    last: date,
    *,
    traits: Sequence[str] = (),
    on_day: Callable[[HistoryDay], None] = ignore,
    notify: Notify = silent,
) -> BackfillReport:
    """Writes the history of days (reporting time zone) that have none; an interrupted backfill resumes.

    Each day of all its traits is one transaction, which also records that the day is done. A day starts from the state
    that history holds, so a resumed backfill gives the same rows as an uninterrupted one.

    Args:
        project: whose definitions; takes the lock of its home.
        first: first day.
        last: last day, included.
        traits: names; all when none is given.
        on_day: called with each trait's day, once it is committed.
        notify: progress.

    Raises:
        UsageError: the days are not in order or not built yet, or there is no such trait.

    """
    if first > last:
        raise UsageError(f"--from {first} is after --to {last}.", "Give the earlier day first.")
    chosen = [project.catalog.trait(name) for name in dict.fromkeys(traits)] or list(project.catalog.traits)
    with project.home.lease("traithouse backfill"), project.home.lock("traithouse backfill"):
        first_day = _first_day_of_events(project, last)
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        clocks = [end_of_day(day, project.time_zone) for day in days if day >= first_day]
        with project.home.connect() as connection:
            missing = missing_days(connection, chosen, clocks)
        reports = {
            days_of.trait.name: BackfilledTrait(
                days_of.trait.name,
                already_published=days_of.published,
                already_backfilled=days_of.backfilled,
                other_version=days_of.other_version,
            )
            for days_of in missing
        }
        runs = list(_runs(missing, clocks))
        total, number = sum(len(run_clocks) for run_clocks, _ in runs), 0
        for run_clocks, names in runs:
            models = Replay(project, names)
            with project.home.connect() as connection, models.over(connection, run_clocks) as at_clocks:
                for clock in at_clocks:
                    number += 1
                    day = last_date(clock, project.time_zone)
                    notify(f"backfilling {day} ({number} of {total}): {len(names)} traits")
                    written: list[HistoryDay] = []
                    with transaction(connection):
                        for name in names:
                            trait, before = project.catalog.trait(name), reports[name]
                            publishable = is_publishable(connection, trait, day)
                            changes = backfill_trait(connection, trait, clock, publishable=publishable)
                            reports[name] = replace(
                                before,
                                changes=before.changes + changes,
                                written=before.written + 1,
                                insufficient_evidence=before.insufficient_evidence + (not publishable),
                            )
                            counts = _members(connection, trait)
                            written.append(HistoryDay(name, day, clock, trait.version, publishable, *counts, changes))
                    for history_day in written:
                        on_day(history_day)
        build_id = served_build(project.home)
        if any(report.changes for report in reports.values()) and build_id:
            notify("writing the serving snapshot")
            with project.home.connect() as connection:
                write_snapshot(project.home, connection, build_id)
    return BackfillReport(first, last, len(days) - len(clocks), tuple(reports.values()))


def _members(connection: duckdb.DuckDBPyConnection, trait: Trait) -> tuple[int, int]:
    """Population and members of a replayed day."""
    has_it = "value" if trait.type == "boolean" else "value is not null"
    counted = f'select count(*), count(*) filter ({has_it}) from replay_candidates."{trait.name}"'
    population, members = connection.execute(counted).fetchone() or (0, 0)
    return population, members


def _first_day_of_events(project: Project, last: date) -> date:
    """The first day that has an event; date.max when there is none.

    Raises:
        UsageError: the last day is not built, or not from the project's present files.

    """
    with project.home.connect() as connection:
        connection.execute(STATE_TABLES)
        built = connection.execute("select as_of, fingerprint from state.watermark").fetchone()
        as_of, fingerprint = built or (None, None)
        if as_of is None or fingerprint != project_fingerprint(project):
            raise UsageError(
                "The project has changed since it was built." if built else "Nothing is built yet.",
                "Run traithouse refresh, then backfill.",
            )
        if end_of_day(last, project.time_zone) > as_of:
            raise UsageError(
                f"--to {last} is not over yet: the warehouse is built up to {as_of} UTC.",
                f"The last whole day is {local_date(as_of, project.time_zone) - timedelta(days=1)}.",
            )
        row = connection.execute("select min(activity_date) from activity.fct_user_activity_daily").fetchone()
    found: date | None = row[0] if row else None
    return found or date.max


def _runs(missing: Sequence[Missing], clocks: Sequence[datetime]) -> Iterator[tuple[list[datetime], list[str]]]:
    """Consecutive days that the same traits lack; each run starts from the state that history holds."""
    lacking: dict[tuple[datetime, ...], list[str]] = defaultdict(list)
    for days_of in missing:
        lacking[days_of.clocks].append(days_of.trait.name)
    for days, names in lacking.items():
        run: list[datetime] = []
        for clock in clocks:
            if clock in days:
                run.append(clock)
            elif run:
                yield run, names
                run = []
        if run:
            yield run, names
