"""Forward lift over 28 days: how much likelier is what a trait promises or warns of for those who had it.

Features and candidates are computed again as of 28 days ago, from the same SQL and only from events before that clock,
in schemas of their own; then the 28 days that followed are looked at. The lift is the risk ratio of those who had the
trait against those who were eligible and had it not, with a 95% interval by the Katz log method (Katz, Baptista, Azen
and Pike, "Obtaining confidence intervals for the risk ratio in cohort studies", Biometrics 34, 1978), as implemented
by scipy.stats.contingency.relative_risk.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from orchestration.catalog import NOT_ENOUGH_EVIDENCE, Trait
from orchestration.project import House, Notify, silent
from orchestration.publishing.state import copy_prior_state
from orchestration.warehouse.build import Build, is_trait
from orchestration.warehouse.clock import days_before, grid_point_before, local_date
from orchestration.warehouse.dbt import DbtProject

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

HORIZON_DAYS = 28
REPLAYED_SCHEMAS = ("features", "candidates", "state")

LIFT_TABLES = """
create schema if not exists measurement;
create table if not exists measurement.trait_lift (
    trait varchar, as_of timestamp, had bigint, had_outcome bigint, others bigint, others_outcome bigint,
    lift double, lift_low double, lift_high double
);
create table if not exists measurement.lift_run (as_of timestamp, definitions varchar);
"""


@dataclass(frozen=True)
class Counts:
    """Entities 28 days ago, with and without the trait, and how many of each had the outcome since."""

    had: int
    had_outcome: int
    others: int
    others_outcome: int


def measure_lift(house: House, project: DbtProject, build: Build, *, notify: Notify = silent) -> None:
    """Write measurement.trait_lift; grain is one row a trait, and none where the past is too short.

    Measured once a day and definition: replaying the past costs as much as all features, and a refresh an hour later
    would find the same 28 days.
    """
    start = days_before(build.as_of, HORIZON_DAYS, project.time_zone)
    start_date = local_date(start, project.time_zone)
    definitions = _definitions(project, build)
    with house.connect() as connection:
        connection.execute(LIFT_TABLES)
        measured = connection.execute("select as_of, definitions from measurement.lift_run").fetchone()
        if measured == (start, definitions) and not build.full_refresh:
            return
        connection.execute("delete from measurement.lift_run; delete from measurement.trait_lift")
        first = connection.execute("select min(activity_date) from activity.fct_user_activity_daily").fetchone()
        if not first or first[0] is None or first[0] >= start_date:
            return
        copy_prior_state(connection, project.catalog, grid_point_before(start, project.time_zone), "replay_state")
    notify(f"measuring lift since {start_date}")
    results = project.run(
        "build",
        select=["path:models/features", "path:models/traits"],
        variables={"as_of": str(start), "build_id": build.build_id},
        full_refresh=True,
        manifest=replayed(project.manifest),
    )
    good = {result.name for result in results if result.ok}
    with house.connect() as connection:
        for trait in project.catalog.traits:
            if trait.name not in good or trait.entity != "user" or trait.type != "boolean":
                continue
            counts = _counts(connection, trait, str(start_date))
            if counts:
                low, ratio, high = risk_ratio(counts)
                connection.execute(
                    "insert into measurement.trait_lift values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                    [trait.name, start, *vars(counts).values(), ratio, low, high],
                )
        for schema in REPLAYED_SCHEMAS:
            connection.execute(f"drop schema if exists replay_{schema} cascade")
        connection.execute("insert into measurement.lift_run values ($1, $2)", [start, definitions])


def _definitions(project: DbtProject, build: Build) -> str:
    """Fingerprint of everything up to the candidates, and of what the outcomes are."""
    checksums = sorted(
        node["checksum"]["checksum"]
        for unique_id, node in project.manifest_dict["nodes"].items()
        if is_trait(project, unique_id)
    )
    outcomes = [trait.outcome.model_dump_json() for trait in project.catalog.traits]
    return hashlib.sha256(json.dumps([build.fingerprint, checksums, outcomes]).encode()).hexdigest()[:16]


def replayed(manifest: Manifest) -> Manifest:
    """The project with features, candidates and prior state in schemas of their own."""
    copy = manifest.deepcopy()
    nodes: list[Any] = [*copy.nodes.values(), *copy.sources.values()]
    for node in nodes:
        if node.schema in REPLAYED_SCHEMAS:
            node.relation_name = (node.relation_name or "").replace(f'"{node.schema}"', f'"replay_{node.schema}"')
            node.schema = f"replay_{node.schema}"
    return copy


def _counts(connection: duckdb.DuckDBPyConnection, trait: Trait, start: str) -> Counts | None:
    """Days after the clock are days from the start date on, up to the horizon."""
    came_true = "coalesce(sum(day.event_count), 0) = 0"
    if trait.outcome.behaviours:
        columns = " + ".join(f"day.{behaviour}_count" for behaviour in trait.outcome.behaviours)
        came_true = f"coalesce(sum({columns}), 0) > 0"
    row = connection.execute(
        f"""
        with judged as (
            select
                c.user_id,
                c.value,
                json_extract_string(c.evidence, '$.eligible') = 'true' as eligible,
                json_extract_string(c.evidence, '$.rule') as rule,
                {came_true} as came_true
            from replay_candidates."{trait.name}" as c
            left join activity.fct_user_activity_daily as day
                on c.user_id = day.user_id
                and day.activity_date >= date '{start}'
                and day.activity_date < date '{start}' + {HORIZON_DAYS}
            group by c.user_id, c.value, c.evidence
        )
        select
            count(*) filter (value), count(*) filter (value and came_true),
            count(*) filter (eligible and not value), count(*) filter (eligible and not value and came_true)
        from judged
        where rule != '{NOT_ENOUGH_EVIDENCE}'
        """
    ).fetchone()
    counts = Counts(*row) if row else Counts(0, 0, 0, 0)
    return counts if counts.had and counts.others else None


def risk_ratio(counts: Counts) -> tuple[float | None, float | None, float | None]:
    """Lower bound, ratio, upper bound; a part that is not finite is null."""
    from scipy.stats.contingency import relative_risk

    result = relative_risk(counts.had_outcome, counts.had, counts.others_outcome, counts.others)
    interval = result.confidence_interval(confidence_level=0.95)
    low, ratio, high = (
        round(float(number), 3) if math.isfinite(number) else None
        for number in (interval.low, result.relative_risk, interval.high)
    )
    return low, ratio, high
