"""How steady a trait is, measured in the ledger of the last 28 days.

The days end at the last daily grid point strictly before the build, as the prior state does. So a repeated refresh
measures the same, and hourly and daily refreshes agree. A day counts when the declared version of the definition was
published on it, or backfilled. An entity's value on a day is the one at its end, so going in and out within a day is no
change. A first value is no flip, nor is a change that a definition, a merged identity, an objection, a rollback or a
retirement made.
Anonymous visitors are left out, unless the trait declares ``everyone``.

- flip_rate: mean over days of entities whose value changed / entities in scope.
- member_flip_rate: mean over days of entities that entered or left / entities that were members at its end or left.
- repeat_flip_share: of all that were members in the window, the share whose value changed three times or more.
- median_dwell_days: days until half have left, by the product-limit estimate (Kaplan and Meier, "Nonparametric
  estimation from incomplete observations", JASA 53, 1958): members that have not left are censored, and one that came
  before the window is at risk only from the age at which the window found it (left truncation: Tsai, Jewell and Wang,
  Biometrika 74, 1987). Where half never leave it is the longest observed spell: the median is at least that.
- prevalence_drift: share of members, mean of the last 7 days minus mean of the first 7, in percentage points.

A member of a boolean trait has the value true, of a category the value that its outcome names, and of a number any
value. A spell is the time that an entity is a member without a break.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.measurement.grades import Stability, graded
from orchestration.measurement.ledger_window import RATES, SPELLS, prepare_window
from orchestration.measurement.lift import LIFT_TABLES, RiskRatio
from orchestration.published.rows import fetch_rows, insert_row
from orchestration.published.tables import BACKFILLED_DAYS, PUBLISHED_TABLES
from orchestration.transform.build import Build
from orchestration.transform.clock import days_before, grid_point_before
from orchestration.transform.dbt import Project

WINDOW_DAYS = 28

STABILITY_TABLES = """
create schema if not exists measurement;
create table if not exists measurement.trait_stability (
    trait varchar, as_of timestamp, stability_days bigint, flip_rate double, member_flip_rate double,
    repeat_flip_share double, median_dwell_days double, prevalence_drift double, grade varchar, grade_reason varchar
);
"""


@dataclass(frozen=True)
class Spells:
    """Spells of membership that have the same ages, in days; an entity can have several spells.

    Attributes:
        found_at: age at which the window found them; 0 when they began in it.
        ended_at: age at which they ended, or were last seen.
        has_left: whether they ended by leaving.
        count: how many.

    """

    found_at: int
    ended_at: int
    has_left: bool
    count: int


def measure_stability(project: Project, build: Build) -> None:
    """Writes measurement.trait_stability; grain is one row a trait that has been published or backfilled."""
    end = grid_point_before(build.as_of, project.time_zone)
    grid = [days_before(end, days, project.time_zone) for days in range(WINDOW_DAYS, -1, -1)]
    with project.home.connect() as connection:
        connection.execute(PUBLISHED_TABLES + BACKFILLED_DAYS + LIFT_TABLES + STABILITY_TABLES)
        measured = measure_window(connection, project.catalog.traits, grid)
        lifts = {
            row["trait"]: RiskRatio(row["lift_low"], row["lift"], row["lift_high"])
            for row in fetch_rows(connection, "select trait, lift_low, lift, lift_high from measurement.trait_lift")
        }
        connection.execute("begin")
        connection.execute("delete from measurement.trait_stability")
        for trait in project.catalog.traits:
            if found := measured.get(trait.name):
                grade, reason = graded(trait, found, lifts.get(trait.name))
                measures = asdict(found)
                row = {"trait": trait.name, "as_of": end, "stability_days": measures.pop("days"), **measures}
                insert_row(connection, "measurement.trait_stability", row | {"grade": grade, "grade_reason": reason})
        connection.execute("commit")


def measure_window(
    connection: duckdb.DuckDBPyConnection, traits: Sequence[Trait], grid: Sequence[datetime]
) -> dict[str, Stability]:
    """Stability by trait, measured for all traits at once.

    Args:
        connection: the warehouse.
        traits: which; one without a published day is left out of the answer.
        grid: naive UTC; the window's opening, and then the midnight that ends each of its days.

    """
    prepare_window(connection, traits, grid)
    spells: dict[str, list[Spells]] = {}
    for row in fetch_rows(connection, SPELLS, {"ending": grid[-1]}):
        spells.setdefault(row.pop("trait"), []).append(Spells(**row))
    found = {}
    for row in fetch_rows(connection, RATES):
        trait = row.pop("trait")
        rates = {name: None if value is None else round(value, 5) for name, value in row.items() if name != "days"}
        if rates["prevalence_drift"] is not None:
            rates["prevalence_drift"] = round(rates["prevalence_drift"], 2)
        dwell = median_dwell(spells.get(trait, []))
        found[trait] = Stability(days=row["days"], median_dwell_days=dwell, **rates)
    return found


def median_dwell(spells: Iterable[Spells]) -> float | None:
    """Kaplan-Meier median of spells, in days; the longest observed age when half never leave, null without spells.

    Survival at age t is the product over ages a <= t at which some left of 1 - left(a) / at risk(a), where those are at
    risk who were found before a and whose spell had not ended before it.
    """
    known = [spell for spell in spells if spell.ended_at > spell.found_at]
    if not known:
        return None
    survival = 1.0
    for age in sorted({spell.ended_at for spell in known if spell.has_left}):
        at_risk = sum(spell.count for spell in known if spell.found_at < age <= spell.ended_at)
        survival *= 1 - sum(spell.count for spell in known if spell.has_left and spell.ended_at == age) / at_risk
        if survival <= 0.5:
            return float(age)
    return float(max(spell.ended_at for spell in known))
