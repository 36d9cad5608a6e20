"""What past clocks showed of score traits: rows to fit scores to, and later rows to test them on.

The past is replayed. At each clock a trait's own SQL gives the entities that were eligible and what was known of them
then. Whether the trait's declared outcome came is read in the days that followed. The points are fitted to older clocks
whose outcomes were all known at the first clock of the test, so a test clock is as new to the model as today is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pandas as pd

from orchestration.declarations.traits import Trait
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Notify, silent
from orchestration.measurement.replay import replay
from orchestration.published.objections import create_objectors, is_objector
from orchestration.published.sentences import quoted_value
from orchestration.transform.build import current_build
from orchestration.transform.clock import days_before, local_date, resolve_as_of
from orchestration.transform.dbt import Project

# In the first days of the history most of what features look back at has not happened yet.
WARM_UP_DAYS = 28
# Clocks a day apart see nearly the same days: weekly clocks say as much, and cost less.
DAYS_BETWEEN_CLOCKS = 7
MOST_FIT_CLOCKS, MOST_TEST_CLOCKS = 12, 4
# With so many rows of either outcome the newest clocks suffice for the test, and the others are left to fit.
ENOUGH_OF_EACH_TO_TEST = 100


class KnownHistory(NamedTuple):
    """What the home knows: the clock of learning (naive UTC), and the first day with activity (reporting time zone)."""

    as_of: datetime
    first_date: date


@dataclass
class TrainingData:
    """What past clocks showed of a trait: one row an entity and clock, oldest clock first.

    Attributes:
        clocks: clocks whose outcomes are known, newest first; naive UTC.
        horizon: days until an outcome is known.
        time_zone: reporting time zone.
        frames: clock to a row for each eligible entity: its features, ``entity``, and ``happened`` (1 or 0).

    """

    clocks: list[datetime]
    horizon: int
    time_zone: str
    frames: dict[datetime, pd.DataFrame] = field(default_factory=dict)

    @property
    def test_clocks(self) -> list[datetime]:
        """The newest clocks, only as many as have enough rows of either outcome."""
        chosen: list[datetime] = []
        for clock in self.clocks[:MOST_TEST_CLOCKS]:
            chosen.append(clock)
            happened = self._rows(chosen)["happened"]
            if min(happened.sum(), len(happened) - happened.sum()) >= ENOUGH_OF_EACH_TO_TEST:
                break
        return chosen

    @property
    def fit_clocks(self) -> list[datetime]:
        """Clocks whose outcomes were all known at the first clock of the test."""
        if not self.test_clocks:
            return []
        until = days_before(min(self.test_clocks), self.horizon, self.time_zone)
        return [clock for clock in self.clocks if clock <= until][:MOST_FIT_CLOCKS]

    @property
    def fit(self) -> pd.DataFrame:
        """Rows to fit to."""
        return self._rows(self.fit_clocks)

    @property
    def test(self) -> pd.DataFrame:
        """Rows to test on."""
        return self._rows(self.test_clocks)

    def _rows(self, clocks: Sequence[datetime]) -> pd.DataFrame:
        found = [self.frames[clock] for clock in sorted(clocks) if len(self.frames[clock])]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame({"entity": [], "happened": []})


def known_history(project: Project, as_of: str | None = None) -> KnownHistory:
    """The history up to a clock, by default that of the last build.

    Raises:
        TraithouseError: nothing has been built.
        UsageError: as_of cannot be used.

    """
    with project.home.connect() as connection:
        build = current_build(connection)
        whole = build and connection.execute("select 1 from state.watermark").fetchone()
        if build is None or not whole:
            raise TraithouseError("Nothing has been built to learn from.", "traithouse refresh builds it; then learn.")
        first = connection.execute("select min(activity_date) from activity.fct_user_activity_daily").fetchone()
    clock = resolve_as_of(
        as_of or str(build.as_of),
        now=build.as_of,
        newest_event=None,
        last_published=None,
        time_zone=project.time_zone,
    )
    if clock > build.as_of:
        raise UsageError(f"--as-of {as_of} is after the last build ({build.as_of} UTC).", "Refresh first, then learn.")
    return KnownHistory(clock, (first and first[0]) or local_date(clock, project.time_zone))


def look_back(
    project: Project,
    traits: Sequence[Trait],
    history: KnownHistory,
    *,
    notify: Notify = silent,
) -> dict[str, TrainingData]:
    """What past clocks showed of each trait; a clock that several traits need is replayed once. Hold the lock."""
    data = {}
    for trait in traits:
        clocks = _known_clocks(history, trait.outcome.days, project.time_zone)
        data[trait.name] = TrainingData(clocks, trait.outcome.days, project.time_zone)
    wanted = sorted({clock for past in data.values() for clock in past.clocks})
    if not wanted:
        return data
    with closing(replay(project, wanted, traits=[trait.name for trait in traits], notify=notify)) as replayed:  # type: ignore[type-var]
        for clock in replayed:
            start = local_date(clock, project.time_zone)
            with project.home.connect() as connection:
                for trait in traits:
                    if clock in data[trait.name].clocks:
                        data[trait.name].frames[clock] = _eligible_rows(connection, trait, start)
    return data


def _known_clocks(history: KnownHistory, horizon: int, time_zone: str) -> list[datetime]:
    """Midnights, newest first: from the newest whose horizon has passed to the oldest that fit or test may use."""
    furthest = (MOST_TEST_CLOCKS + MOST_FIT_CLOCKS) * DAYS_BETWEEN_CLOCKS + horizon
    clocks = []
    for days in range(horizon, horizon + furthest, DAYS_BETWEEN_CLOCKS):
        clock = days_before(history.as_of, days, time_zone)
        if (local_date(clock, time_zone) - history.first_date).days < WARM_UP_DAYS:
            break
        clocks.append(clock)
    return clocks


def _eligible_rows(connection: duckdb.DuckDBPyConnection, trait: Trait, start: date) -> pd.DataFrame:
    """Features of those who count and are eligible at a replayed clock, and whether the outcome came from then on.

    A feature is what the declaration names in ``scorecard``: the only list of features.
    """
    features = list(trait.scorecard)
    columns = "".join(f', cast({quoted_value(name)} as double) as "{name}"' for name in features)
    came = "coalesce(sum(day.event_count), 0) = 0"
    if trait.outcome.behaviours:
        counts = " + ".join(f"day.{behaviour}_count" for behaviour in trait.outcome.behaviours)
        came = f"coalesce(sum({counts}), 0) > 0"
    create_objectors(connection)
    rows: Any = connection.execute(
        f"""
        with outcomes as (
            select c.{trait.id_column} as entity, {came} as came
            from replay_candidates."{trait.name}" as c
            left join activity.fct_{trait.entity}_activity_daily as day
                on c.{trait.id_column} = day.{trait.id_column}
                and day.activity_date >= $start and day.activity_date < $start + $days
            group by c.{trait.id_column}
        )
        select c.{trait.id_column} as entity, cast(o.came as double) as happened{columns}
        from replay_candidates."{trait.name}" as c
        inner join outcomes as o on c.{trait.id_column} = o.entity
        where
            json_extract_string(c.evidence, '$.eligible') = 'true'
            and not {is_objector(trait.entity, f"c.{trait.id_column}")}
        order by entity
        """,
        {"start": start, "days": trait.outcome.days},
    ).df()
    frame: pd.DataFrame = rows.astype(dict.fromkeys(("happened", *features), np.float64))
    return frame
