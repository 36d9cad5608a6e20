"""Learns the scores of score traits from the home's own past, point in time, and tests them out of time.

The past is replayed: at each clock a trait's own SQL gives the entities that were eligible then and what was known of
them. Whether the trait's declared outcome came is read in the days that followed. The points are fitted to older clocks
whose outcomes were all known at the first clock of the test, so a test clock is as new to the model as today is.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from orchestration.declarations.catalog import Trait
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Notify, silent
from orchestration.learning.score_models import ScoreModel, newest_model, save_model, score_traits
from orchestration.learning.scorecard import (
    LEAST_OF_EACH_TO_FIT,
    LEAST_OF_EACH_TO_TEST,
    Scorecard,
    fit_scorecard,
    measure_quality,
)
from orchestration.measurement.replay import replay
from orchestration.transform.build import current_build
from orchestration.transform.clock import days_before, local_date, resolve_as_of
from orchestration.transform.dbt import Project

# Before that most of what features look back at has not happened yet.
WARM_UP_DAYS = 28
# Neighbouring clocks see nearly the same days: weekly ones tell more, and cost less than daily ones.
DAYS_BETWEEN_CLOCKS = 7
MOST_FIT_CLOCKS, MOST_TEST_CLOCKS = 12, 4
# With so many of either outcome the newest clocks are test enough, and the rest is left to fit.
ENOUGH_OF_EACH_TO_TEST = 100


@dataclass(frozen=True)
class Learned:
    """What came of one trait.

    Attributes:
        trait: what was learned.
        model: numbers of fit and test.
        version: of the model that is stored.
        is_new: whether it was added now; learning the same again adds nothing.
        card: the points; None where too little has happened.

    """

    trait: Trait
    model: ScoreModel
    version: int
    is_new: bool
    card: Scorecard | None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            **self.model.row,
            "title": self.trait.title,
            "outcome": self.trait.outcome.title,
            "model_version": self.version,
            "is_new": self.is_new,
            "points": [asdict(one) for one in self.card.bins] if self.card else [],
        }


@dataclass
class Past:
    """What past clocks showed of one trait: an entity and a clock a row, oldest first.

    Attributes:
        clocks: those whose outcomes are known, newest first; naive UTC.
        horizon: days until an outcome is known.
        time_zone: reporting time zone.
        frames: clock to the features of those who were eligible, with ``entity`` and ``happened`` beside them.

    """

    clocks: list[datetime]
    horizon: int
    time_zone: str
    frames: dict[datetime, pd.DataFrame] = field(default_factory=dict)

    @property
    def test_clocks(self) -> list[datetime]:
        """The newest clocks, as few as are enough."""
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


def learn(
    project: Project,
    *,
    traits: Sequence[str] = (),
    as_of: str | None = None,
    notify: Notify = silent,
) -> list[Learned]:
    """Learns score traits, all or those named, and stores a model of each; one that does not hold is never used.

    Args:
        project: what is declared.
        traits: names.
        as_of: what is known; as for a refresh, but no later than the last build. Default: the last build's.
        notify: progress.

    Raises:
        TraithouseError: nothing has been built.
        UsageError: a trait has no score, or as_of cannot be used.

    """
    chosen = _chosen(project, traits)
    with project.home.lock("traithouse learn"):
        clock, first_date = known(project, as_of)
        pasts = look_back(project, chosen, clock, first_date, notify=notify)
        learned = []
        for trait in chosen:
            notify(f"learning {trait.name}")
            model, card = fitted(trait, pasts[trait.name], clock, first_date)
            points = [asdict(one) for one in card.bins] if card else []
            with project.home.connect() as connection:
                _only_forward(connection, trait, clock)
                version, is_new = save_model(connection, model, points, card.probabilities if card else {})
            learned.append(Learned(trait, model, version, is_new, card))
    return learned


def look_back(
    project: Project,
    traits: Sequence[Trait],
    as_of: datetime,
    first_date: date,
    *,
    notify: Notify = silent,
) -> dict[str, Past]:
    """What past clocks showed of each trait; a clock that several traits look at is replayed once. Hold the lock."""
    pasts = {}
    for trait in traits:
        clocks = _known_clocks(as_of, first_date, trait.outcome.days, project.time_zone)
        pasts[trait.name] = Past(clocks, trait.outcome.days, project.time_zone)
    wanted = sorted({clock for past in pasts.values() for clock in past.clocks})
    if not wanted:
        return pasts
    with closing(replay(project, wanted, traits=[trait.name for trait in traits], notify=notify)) as replayed:  # type: ignore[type-var]
        for clock in replayed:
            start = local_date(clock, project.time_zone)
            with project.home.connect() as connection:
                for trait in traits:
                    if clock in pasts[trait.name].clocks:
                        pasts[trait.name].frames[clock] = _eligible_rows(connection, trait, start)
    return pasts


def fitted(trait: Trait, past: Past, as_of: datetime, first_date: date) -> tuple[ScoreModel, Scorecard | None]:
    """A model of what past clocks showed: fitted to the older ones, tested on the newer ones."""
    fit, test = past.fit, past.test
    model = ScoreModel(
        trait=trait.name,
        definition_version=trait.version,
        as_of=as_of,
        fitted_until=as_of,
        fitted_rows=len(fit),
        fitted_positives=int(fit["happened"].sum()),
        base_rate=None,
        tested_rows=len(test),
        tested_positives=int(test["happened"].sum()),
        auc=None,
        auc_low=None,
        auc_high=None,
        brier=None,
        calibration_error=None,
        top_decile_lift=None,
        usable=False,
        reason="",
    )
    lacking = _lacking(trait, fit, test, first_date)
    if lacking:
        return ScoreModel(**asdict(model) | {"reason": lacking}), None
    features = [name for name in fit.columns if name not in ("entity", "happened")]
    card = fit_scorecard(fit[features], fit["happened"].to_numpy(), fit["entity"].tolist())
    quality = measure_quality(test["happened"].to_numpy(), card.probability(test), test["entity"].tolist())
    numbers = asdict(quality)
    numbers["tested_rows"], numbers["tested_positives"] = numbers.pop("rows"), numbers.pop("positives")
    numbers |= {
        "fitted_until": min(past.test_clocks),
        "base_rate": round(float(fit["happened"].mean()), 4),
        "usable": not quality.shortfall,
        "reason": quality.shortfall,
    }
    return ScoreModel(**asdict(model) | numbers), card


def _chosen(project: Project, names: Sequence[str]) -> list[Trait]:
    scored = score_traits(project)
    for name in names:
        if project.catalog.trait(name) not in scored:
            raise UsageError(
                f"{name} has no score to learn.", f"There are: {', '.join(one.name for one in scored) or 'none'}."
            )
    return [trait for trait in scored if not names or trait.name in names]


def known(project: Project, as_of: str | None = None) -> tuple[datetime, date]:
    """The clock of learning, and the first day of the history."""
    with project.home.connect() as connection:
        build = current_build(connection)
        whole = build and connection.execute("select 1 from state.watermark").fetchone()
        if build is None or not whole:
            raise TraithouseError("Nothing has been built to learn from.", "traithouse refresh builds it.")
        first = connection.execute("select min(activity_date) from activity.fct_user_activity_daily").fetchone()
    clock = resolve_as_of(
        as_of or str(build.as_of),
        now=build.as_of,
        newest_event=None,
        last_published=None,
        time_zone=project.time_zone,
    )
    if clock > build.as_of:
        raise UsageError(f"--as-of {as_of} is after the last build ({build.as_of} UTC).", "Refresh first.")
    return clock, (first and first[0]) or local_date(clock, project.time_zone)


def _only_forward(connection: duckdb.DuckDBPyConnection, trait: Trait, as_of: datetime) -> None:
    newest = newest_model(connection, trait.name)
    if newest and datetime.fromisoformat(newest["as_of"]) > as_of:
        raise UsageError(
            f"{trait.name} was learned as of {newest['as_of']} UTC, which is later.",
            "Models only move forward; use another --home to look at the past.",
        )


def _known_clocks(as_of: datetime, first_date: date, horizon: int, time_zone: str) -> list[datetime]:
    """Midnights, newest first, from the newest whose horizon has passed to the oldest that is of use."""
    furthest = (MOST_TEST_CLOCKS + MOST_FIT_CLOCKS) * DAYS_BETWEEN_CLOCKS + horizon
    clocks = []
    for days in range(horizon, horizon + furthest, DAYS_BETWEEN_CLOCKS):
        clock = days_before(as_of, days, time_zone)
        if (local_date(clock, time_zone) - first_date).days < WARM_UP_DAYS:
            break
        clocks.append(clock)
    return clocks


def _lacking(trait: Trait, fit: pd.DataFrame, test: pd.DataFrame, first_date: date) -> str:
    """What is missing for a model, with numbers; empty when nothing is."""
    horizon = trait.outcome.days
    earliest = first_date + timedelta(days=WARM_UP_DAYS + 2 * horizon)
    if not len(fit) and not len(test):
        return (
            f"in the history since {first_date} nobody was eligible {horizon} days ago or longer; there must be"
            f" {LEAST_OF_EACH_TO_FIT} with {trait.outcome.title} and {LEAST_OF_EACH_TO_FIT} without, and it takes until"
            f" {earliest} at least to learn and to test"
        )
    for rows, least, what in (
        (fit, LEAST_OF_EACH_TO_FIT, "to learn from"),
        (test, LEAST_OF_EACH_TO_TEST, "to test on"),
    ):
        with_it = int(rows["happened"].sum())
        if min(with_it, len(rows) - with_it) < least:
            return (
                f"{what} there are {with_it} with {trait.outcome.title} and {len(rows) - with_it} without,"
                f" and there must be {least} of each; the history begins on {first_date} and it takes until"
                f" {earliest} at least to learn and to test"
            )
    return ""


def _eligible_rows(connection: duckdb.DuckDBPyConnection, trait: Trait, start: date) -> pd.DataFrame:
    """Features of those who are eligible at a replayed clock, and whether the outcome came in the days from it on.

    A feature is what has points beside it in the evidence; so the trait's SQL is the one list of features.
    """
    first = connection.execute(
        f"""select json_keys(evidence, '$.features') from replay_candidates."{trait.name}" limit 1"""
    ).fetchone()
    named: list[str] = first[0] if first else []
    features = [name for name in named if f"{name}_points" in named]
    columns = "".join(
        f""", cast(json_extract_string(c.evidence, '$.features."{name}"') as double) as "{name}" """
        for name in features
    )
    came = "coalesce(sum(day.event_count), 0) = 0"
    if trait.outcome.behaviours:
        counted = " + ".join(f"day.{behaviour}_count" for behaviour in trait.outcome.behaviours)
        came = f"coalesce(sum({counted}), 0) > 0"
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
        select c.{trait.id_column} as entity, cast(o.came as double) as happened {columns}
        from replay_candidates."{trait.name}" as c
        inner join outcomes as o on c.{trait.id_column} = o.entity
        where json_extract_string(c.evidence, '$.eligible') = 'true'
        order by entity
        """,
        {"start": start, "days": trait.outcome.days},
    ).df()
    frame: pd.DataFrame = rows.astype(dict.fromkeys(("happened", *features), np.float64))
    return frame
