"""Forward lift: how much likelier the outcome of a trait is for those who had the trait.

Features and candidates are computed again (orchestration/measurement/replay.py) as of so many days ago as the outcome
has (28 where it says nothing else); then the days that followed are read. The lift is the risk ratio of those who
had the trait against those who were eligible and had it not, with a 95% interval by the Katz log method (Katz,
Baptista, Azen and Pike, "Obtaining confidence intervals for the risk ratio in cohort studies", Biometrics 34, 1978), as
implemented by scipy.stats.contingency.relative_risk.

Who had the trait: of a boolean those with true, of a category those with the value that its outcome names, of a number
the lowest tenth of the eligible, ties at the cut included. Anonymous visitors are left out, unless the trait declares
``everyone``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import date
from typing import NamedTuple

import duckdb

from orchestration.declarations.traits import NOT_ENOUGH_EVIDENCE, Trait
from orchestration.home import Notify, silent
from orchestration.measurement.replay import Replay, last_date
from orchestration.published.rows import fetch_rows, insert_row
from orchestration.published.who_counts import counted
from orchestration.transform.build import Build
from orchestration.transform.clock import days_before, local_date
from orchestration.transform.dbt import Project
from orchestration.transform.node_results import is_trait
from orchestration.transform.runner import GOOD_STATUSES

LIFT_TABLES = """
create schema if not exists measurement;
create table if not exists measurement.trait_lift (
    trait varchar, as_of timestamp, had bigint, had_outcome bigint, others bigint, others_outcome bigint,
    lift double, lift_low double, lift_high double
);
create table if not exists measurement.lift_run (as_of timestamp, definitions varchar);
"""
DAILY = {"user": "activity.fct_user_activity_daily", "account": "activity.fct_account_activity_daily"}


@dataclass(frozen=True)
class Counts:
    """Entities at the clock, with and without the trait, and how many of each had the outcome since."""

    had: int
    had_outcome: int
    others: int
    others_outcome: int


class RiskRatio(NamedTuple):
    """A risk ratio with the bounds of its 95% interval; a number that is not finite is null."""

    low: float | None
    ratio: float | None
    high: float | None


def measure_lift(project: Project, build: Build, *, notify: Notify = silent) -> None:
    """Writes measurement.trait_lift; grain is one row a trait, and none where the past is too short.

    It is measured once a day and definition: replaying the past costs as much as computing all features, and a refresh
    an hour later would find the same days.
    """
    today = days_before(build.as_of, 0, project.time_zone)
    definitions = _definitions(project, build)
    with project.home.connect() as connection:
        connection.execute(LIFT_TABLES)
        measured = connection.execute("select as_of, definitions from measurement.lift_run").fetchone()
        if measured == (today, definitions) and not build.full_refresh:
            return
        connection.execute("delete from measurement.lift_run; delete from measurement.trait_lift")
        failed = connection.execute(
            "select name from state.node_results where not list_contains($1, status)", [list(GOOD_STATUSES)]
        ).fetchall()
        first = connection.execute("select min(activity_date) from activity.fct_user_activity_daily").fetchone()
    horizons = defaultdict(list)
    for trait in project.catalog.traits:
        # A model that fails today cannot be replayed.
        if (trait.name,) not in failed:
            horizons[trait.outcome.days].append(trait)
    for days, traits in sorted(horizons.items(), reverse=True):
        start = days_before(build.as_of, days, project.time_zone)
        if not first or first[0] is None or first[0] > last_date(start, project.time_zone):
            continue
        start_date = local_date(start, project.time_zone)
        notify(f"measuring lift since {start_date}")
        models = Replay(project, [trait.name for trait in traits])
        with project.home.connect() as connection, models.over(connection, [start]) as clocks:
            for _ in clocks:
                for trait in traits:
                    counts = count_outcomes(connection, trait, start_date)
                    if counts.had and counts.others:
                        lift = risk_ratio(counts)
                        row = {"trait": trait.name, "as_of": start, **asdict(counts)}
                        row |= {"lift": lift.ratio, "lift_low": lift.low, "lift_high": lift.high}
                        insert_row(connection, "measurement.trait_lift", row)
    with project.home.connect() as connection:
        insert_row(connection, "measurement.lift_run", {"as_of": today, "definitions": definitions})


def _definitions(project: Project, build: Build) -> str:
    """Fingerprint of everything up to the candidates, and of the declarations."""
    checksums = sorted(
        node["checksum"]["checksum"]
        for unique_id, node in project.manifest_dict["nodes"].items()
        if is_trait(project, unique_id)
    )
    declared = [trait.model_dump_json(exclude={"ancestors"}) for trait in project.catalog.traits]
    return hashlib.sha256(json.dumps([build.fingerprint, checksums, declared]).encode()).hexdigest()[:16]


def had_trait(trait: Trait) -> str:
    """SQL over a candidate's columns ``value`` and ``eligible``: whether an entity had the trait."""
    if trait.type == "boolean":
        return "value"
    if trait.type == "category":
        return "value = '" + trait.outcome.value.replace("'", "''") + "'"
    return "eligible and value <= quantile_disc(value, 0.1) filter (where eligible) over ()"


def count_outcomes(connection: duckdb.DuckDBPyConnection, trait: Trait, start: date) -> Counts:
    """Counts over a replayed candidate; the outcome is read from the day ``start`` on, up to the trait's horizon."""
    key, came_true = trait.id_column, "coalesce(sum(day.event_count), 0) = 0"
    if trait.outcome.behaviours:
        columns = " + ".join(f"day.{behaviour}_count" for behaviour in trait.outcome.behaviours)
        came_true = f"coalesce(sum({columns}), 0) > 0"
    (row,) = fetch_rows(
        connection,
        f"""
        with read as (
            select
                {key}, value,
                json_extract_string(evidence, '$.eligible') = 'true' as eligible,
                json_extract_string(evidence, '$.rule') as rule
            from replay_candidates."{trait.name}"
        ),
        judged as (
            select {key}, eligible, coalesce({had_trait(trait)}, false) as had
            from read
            where rule != '{NOT_ENOUGH_EVIDENCE}' and {counted(trait, key)}
        ),
        followed as (
            select any_value(judged.eligible) as eligible, any_value(judged.had) as had, {came_true} as came_true
            from judged
            left join {DAILY[trait.entity]} as day
                on judged.{key} = day.{key}
                and day.activity_date >= $start
                and day.activity_date < $start + {trait.outcome.days}
            group by judged.{key}
        )
        select
            count(*) filter (had) as had,
            count(*) filter (had and came_true) as had_outcome,
            count(*) filter (eligible and not had) as others,
            count(*) filter (eligible and not had and came_true) as others_outcome
        from followed
        """,
        {"start": start},
    )
    return Counts(**row)


def risk_ratio(counts: Counts) -> RiskRatio:
    """The risk ratio of those with the trait against those without it."""
    from scipy.stats.contingency import relative_risk

    result = relative_risk(counts.had_outcome, counts.had, counts.others_outcome, counts.others)
    interval = result.confidence_interval(confidence_level=0.95)
    low, ratio, high = (
        round(float(number), 3) if math.isfinite(number) else None
        for number in (interval.low, result.relative_risk, interval.high)
    )
    return RiskRatio(low, ratio, high)
