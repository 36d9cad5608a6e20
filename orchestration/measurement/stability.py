"""How steady a trait is, from the ledger of the last 28 days, and the grade that says what it may be used for.

The days end at the last daily grid point strictly before the build, as the prior state does: so a refresh that is made
again measures the same, and hourly and daily refreshing agree. A day counts when the declared version of the definition
was published on it, or backfilled; its value of an entity is the one at its end, so that going in and out within a day
is no change. A first value is no flip, nor is a change that a definition, a merged identity, a rollback or a retirement
made.

- flip_rate: mean over days of entities whose value changed / entities in scope.
- member_flip_rate: mean over days of entities that entered or left / entities that were members at its end or left.
- repeat_flip_share: of all that were members in the window, the share whose value changed three times or more.
- median_dwell_days: days until half have left, by the product-limit estimate (Kaplan and Meier, "Nonparametric
  estimation from incomplete observations", JASA 53, 1958): members that have not left are censored, and one that came
  before the window is at risk only from the age at which the window found it (left truncation: Tsai, Jewell and Wang,
  Biometrika 74, 1987). Where half never leave, the longest stay that was watched: the median is at least that.
- prevalence_drift: share of members, mean of the last 7 days minus mean of the first 7, in percentage points.

A member has true; of a category, the value that its outcome is said of; of a number, any value: a number is read, not
entered, and gets no grade.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.measurement.lift import LIFT_TABLES
from orchestration.published.tables import BACKFILLED_DAYS, PUBLISHED_TABLES
from orchestration.transform.build import Build
from orchestration.transform.clock import days_before, grid_point_before
from orchestration.transform.dbt import Project

WINDOW_DAYS = 28
DRIFT_DAYS = 7
REPEATED = 3

STABILITY_TABLES = """
create schema if not exists measurement;
create table if not exists measurement.trait_stability (
    trait varchar, as_of timestamp, stability_days bigint, flip_rate double, member_flip_rate double,
    repeat_flip_share double, median_dwell_days double, prevalence_drift double, grade varchar, grade_reason varchar
);
"""


@dataclass(frozen=True)
class Limits:
    """What a grade asks for.

    Attributes:
        flip_rate: at most; share of the population a day.
        repeat_flip_share: at most; share of members that flip three times or more in 28 days.
        median_dwell_days: at least.
        prevalence_drift: at most, up or down; percentage points.
        proven: whether the interval of the lift has to exclude 1; else the lift alone has to be above 1.

    """

    flip_rate: float
    repeat_flip_share: float
    median_dwell_days: float
    prevalence_drift: float
    proven: bool


LEAST_DAYS = 14
LIMITS = {
    "A": Limits(flip_rate=0.006, repeat_flip_share=0.02, median_dwell_days=7, prevalence_drift=5, proven=True),
    "B": Limits(flip_rate=0.012, repeat_flip_share=0.04, median_dwell_days=3.5, prevalence_drift=10, proven=False),
}
"""A: a product may act on it by itself. B: a person may, knowing that it moves. C, everything else: it is for reading.

The limits are the home's choice, not a finding: at 0.6 % a day a tenth of the population has changed after 17 days,
and a message a week is not contradicted within the week. B is twice as loose. Below 14 days of history there is no
grade.
"""


@dataclass(frozen=True)
class Stability:
    """One trait over the window; null where nothing could be measured."""

    days: int
    flip_rate: float | None = None
    member_flip_rate: float | None = None
    repeat_flip_share: float | None = None
    median_dwell_days: float | None = None
    prevalence_drift: float | None = None


@dataclass(frozen=True)
class Stays:
    """Stays of one length, in days; an entity can have several.

    Attributes:
        found_at: age at which the window found them; 0 when they began in it.
        ended_at: age at which they ended, or were last seen.
        left: whether they ended by leaving.
        count: how many.

    """

    found_at: int
    ended_at: int
    left: bool
    count: int


Lift = tuple[float | None, float | None, float | None]


def measure_stability(project: Project, build: Build) -> None:
    """Write measurement.trait_stability; grain is one row a trait that has been published or backfilled."""
    end = grid_point_before(build.as_of, project.time_zone)
    grid = [days_before(end, days, project.time_zone) for days in range(WINDOW_DAYS, -1, -1)]
    with project.home.connect() as connection:
        connection.execute(PUBLISHED_TABLES + BACKFILLED_DAYS + LIFT_TABLES + STABILITY_TABLES)
        measured = _measure(connection, project.catalog.traits, grid)
        lifts: dict[str, Lift] = {
            name: (low, ratio, high)
            for name, low, ratio, high in connection.execute(
                "select trait, lift_low, lift, lift_high from measurement.trait_lift"
            ).fetchall()
        }
        connection.execute("begin")
        connection.execute("delete from measurement.trait_stability")
        for trait in project.catalog.traits:
            if one := measured.get(trait.name):
                grade, reason = graded(trait, one, lifts.get(trait.name))
                connection.execute(
                    "insert into measurement.trait_stability values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                    [trait.name, end, *vars(one).values(), grade, reason],
                )
        connection.execute("commit")


def graded(trait: Trait, one: Stability, lift: Lift | None) -> tuple[str | None, str]:
    """Grade and what keeps it from the next better one; no grade for a number, or with too little history."""
    if trait.type == "number":
        return None, "A number is read, not entered."
    if one.days < LEAST_DAYS:
        return None, f"{one.days} days of history, {LEAST_DAYS} are needed."
    if one.flip_rate is None or one.prevalence_drift is None:
        return None, "No value to measure."
    kept_from = ""
    for grade, limits in LIMITS.items():
        broken = [*_too_restless(one, limits), *_worth_too_little(lift, limits)]
        if not broken:
            return grade, kept_from
        kept_from = f"Not {grade}: {', '.join(broken)}."
    return "C", kept_from


def _too_restless(one: Stability, limits: Limits) -> Iterable[str]:
    if (one.flip_rate or 0) > limits.flip_rate:
        yield f"{one.flip_rate:.2%} flip a day (limit {limits.flip_rate:.1%})"
    if (one.repeat_flip_share or 0) > limits.repeat_flip_share:
        share, limit = one.repeat_flip_share, limits.repeat_flip_share
        yield f"{share:.1%} of members flip {REPEATED} times or more (limit {limit:.0%})"
    if one.median_dwell_days is None:
        yield "nobody has had it"
    elif one.median_dwell_days < limits.median_dwell_days:
        yield f"half leave within {one.median_dwell_days:g} days (limit {limits.median_dwell_days:g})"
    if abs(one.prevalence_drift or 0) > limits.prevalence_drift:
        yield f"prevalence moved {one.prevalence_drift:+.1f} points (limit {limits.prevalence_drift:g})"


def _worth_too_little(lift: Lift | None, limits: Limits) -> Iterable[str]:
    """A trait that has no lift yet is judged by its steadiness alone."""
    if lift is None:
        return
    low, ratio, _ = lift
    if limits.proven and not (low is not None and low > 1):
        yield "its lift is unproven"
    elif ratio is not None and ratio <= 1:
        yield f"its lift is {ratio:.2f}"


def _measure(
    connection: duckdb.DuckDBPyConnection, traits: Sequence[Trait], grid: Sequence[datetime]
) -> dict[str, Stability]:
    """All traits at once; grid has the window's opening and then the midnight that ends each of its days."""
    _prepare(connection, traits, grid)
    found = {
        name: Stability(days, *(None if value is None else round(value, 5) for value in values))
        for name, days, *values in connection.execute(_RATES).fetchall()
    }
    stays: dict[str, list[Stays]] = {}
    for name, *stay in connection.execute(_STAYS, {"ending": grid[-1]}).fetchall():
        stays.setdefault(name, []).append(Stays(*stay))
    return {
        name: Stability(
            days=one.days,
            flip_rate=one.flip_rate,
            member_flip_rate=one.member_flip_rate,
            repeat_flip_share=one.repeat_flip_share,
            median_dwell_days=median_dwell(stays.get(name, [])),
            prevalence_drift=None if one.prevalence_drift is None else round(one.prevalence_drift, 2),
        )
        for name, one in found.items()
    }


def median_dwell(stays: Iterable[Stays]) -> float | None:
    """Kaplan-Meier median of stays, in days; the longest age watched when half never leave, null without stays.

    Survival at age t is the product over ages a <= t at which some left of 1 - left(a) / at risk(a), where at risk are
    those found before a whose stay had not ended before it.
    """
    known = [stay for stay in stays if stay.ended_at > stay.found_at]
    if not known:
        return None
    survival = 1.0
    for age in sorted({stay.ended_at for stay in known if stay.left}):
        at_risk = sum(stay.count for stay in known if stay.found_at < age <= stay.ended_at)
        survival *= 1 - sum(stay.count for stay in known if stay.left and stay.ended_at == age) / at_risk
        if survival <= 0.5:
            return float(age)
    return float(max(stay.ended_at for stay in known))


def _prepare(connection: duckdb.DuckDBPyConnection, traits: Sequence[Trait], grid: Sequence[datetime]) -> None:
    """Temporary tables: the window of each trait, the values that it opens with, and the changes by day since.

    Values that have not changed since the opening are read from today's; so only the ledger's rows of the window are
    read, and earlier ones of the entities that these name.
    """
    declared = (
        "create or replace temp table declared (trait varchar, version bigint, member varchar, is_number boolean)"
    )
    connection.execute(declared)
    for trait in traits:
        member = "true" if trait.type == "boolean" else trait.outcome.value
        connection.execute(
            "insert into declared values ($1, $2, $3, $4)", [trait.name, trait.version, member, trait.type == "number"]
        )
    connection.execute("create or replace temp table grid (begins timestamp, ends timestamp, number bigint)")
    for number, pair in enumerate(pairwise(grid), start=1):
        connection.execute("insert into grid values ($1, $2, $3)", [*pair, number])
    connection.execute(
        """
        create or replace temp table told as
        with known as (
            select trait, as_of, definition_version as version from traits.gate_verdicts where verdict = 'passed'
            union all
            select trait, as_of, definition_version from state.backfilled_days where told
        )
        select known.trait, known.as_of
        from known
        inner join declared on known.trait = declared.trait and known.version = declared.version;

        create or replace temp table published_days as
        select distinct told.trait, grid.number, grid.ends
        from told
        inner join grid on told.as_of > grid.begins and told.as_of <= grid.ends;

        -- The first published day of a version is what later days are compared with, unless it was there before.
        create or replace temp table windows as
        with earlier as (
            select distinct trait from told where as_of <= (select min(begins) from grid)
        )
        select
            published_days.trait,
            case when count(earlier.trait) > 0 then (select min(begins) from grid) else min(published_days.ends) end
                as opening,
            (select max(ends) from grid) as ending,
            count(*) as day_count
        from published_days
        left join earlier on published_days.trait = earlier.trait
        group by published_days.trait;

        create or replace temp table recent as
        select
            c.trait, c.entity_id, c.as_of, c.seq, c.new_value, c.cause, c.as_of <= windows.ending as in_window
        from traits.trait_changes as c
        inner join windows on c.trait = windows.trait and c.as_of > windows.opening;

        create or replace temp table opening as
        with touched as (
            select distinct trait, entity_id from recent
        ),
        earlier as (
            select
                c.trait, c.entity_id,
                arg_max(coalesce(c.new_value, ''), (c.as_of, c.seq)) as value,
                arg_max(c.as_of, (c.as_of, c.seq)) as since
            from traits.trait_changes as c
            inner join touched on c.trait = touched.trait and c.entity_id = touched.entity_id
            inner join windows on c.trait = windows.trait and c.as_of <= windows.opening
            group by c.trait, c.entity_id
        )
        select v.trait, v.entity_id, v.value, v.since
        from traits.trait_values as v
        inner join windows on v.trait = windows.trait and v.since <= windows.opening
        anti join touched on v.trait = touched.trait and v.entity_id = touched.entity_id
        union all
        select trait, entity_id, value, since from earlier where value != '';

        -- Grain: trait x entity x day with a change; value and before are what the day ends and begins with.
        create or replace temp table moves as
        with daily as (
            select
                r.trait, r.entity_id, grid.number,
                arg_max(coalesce(r.new_value, ''), (r.as_of, r.seq)) as value,
                bool_and(r.cause in ('behaviour', 'backfill')) as is_behaviour
            from recent as r
            inner join grid on r.as_of > grid.begins and r.as_of <= grid.ends
            where r.in_window
            group by r.trait, r.entity_id, grid.number
        ),
        stepped as (
            select
                daily.*,
                coalesce(
                    lag(daily.value) over (partition by daily.trait, daily.entity_id order by daily.number),
                    opening.value, ''
                ) as before
            from daily
            left join opening on daily.trait = opening.trait and daily.entity_id = opening.entity_id
        )
        select
            stepped.*,
            stepped.before != '' as was_known,
            stepped.value != '' as is_known,
            stepped.before != '' and (declared.is_number or stepped.before = declared.member) as was_member,
            stepped.value != '' and (declared.is_number or stepped.value = declared.member) as is_member,
            stepped.before != '' and stepped.value != '' and stepped.is_behaviour as is_flip
        from stepped
        inner join declared on stepped.trait = declared.trait
        where stepped.value != stepped.before
        """
    )


_RATES = f"""
with opened as (
    select
        windows.trait, any_value(windows.opening) as opening, any_value(windows.day_count) as day_count,
        count(opening.entity_id) as known,
        count(opening.entity_id) filter (declared.is_number or opening.value = declared.member) as members
    from windows
    inner join declared on windows.trait = declared.trait
    left join opening on windows.trait = opening.trait
    group by windows.trait
),
moved as (
    select
        trait, number,
        count(*) filter (is_flip) as flips,
        count(*) filter (is_known) - count(*) filter (was_known) as known,
        count(*) filter (is_member) - count(*) filter (was_member) as members,
        count(*) filter (is_flip and is_member and not was_member) as entered,
        count(*) filter (is_flip and was_member and not is_member) as gone
    from moves
    group by trait, number
),
days as (
    select
        opened.trait, opened.day_count, grid.number, published_days.number is not null as is_published,
        grid.ends > opened.opening as is_compared,
        coalesce(moved.flips, 0) as flips, coalesce(moved.entered, 0) as entered, coalesce(moved.gone, 0) as gone,
        opened.known + coalesce(sum(moved.known) over day, 0) as known,
        opened.members + coalesce(sum(moved.members) over day, 0) as members
    from opened
    inner join grid on grid.ends >= opened.opening
    left join published_days on opened.trait = published_days.trait and grid.number = published_days.number
    left join moved on opened.trait = moved.trait and grid.number = moved.number
    window day as (partition by opened.trait order by grid.number rows unbounded preceding)
),
ranked as (
    select
        days.*,
        row_number() over (partition by trait order by number) as day_rank
    from days
    where is_published
),
ever as (
    select trait, entity_id, sum(flips) >= {REPEATED} as repeats
    from (
        select opening.trait, opening.entity_id, 0 as flips
        from opening
        inner join declared on opening.trait = declared.trait
        where declared.is_number or opening.value = declared.member
        union all
        select m.trait, m.entity_id, cast(m.is_flip as bigint)
        from moves as m
    )
    where (trait, entity_id) in (
        select (opening.trait, opening.entity_id)
        from opening
        inner join declared on opening.trait = declared.trait
        where declared.is_number or opening.value = declared.member
        union all
        select (trait, entity_id) from moves where is_member
    )
    group by trait, entity_id
),
repeated as (
    select trait, count(*) filter (repeats) / count(*) as share from ever group by trait
)
select
    ranked.trait,
    any_value(ranked.day_count),
    avg(ranked.flips / nullif(ranked.known, 0)) filter (ranked.is_compared),
    avg((ranked.entered + ranked.gone) / nullif(ranked.members + ranked.gone, 0)) filter (ranked.is_compared),
    any_value(repeated.share),
    null,
    case when any_value(ranked.day_count) >= 2 * {DRIFT_DAYS} then 100 * (
        avg(ranked.members / nullif(ranked.known, 0)) filter (ranked.day_rank > ranked.day_count - {DRIFT_DAYS})
        - avg(ranked.members / nullif(ranked.known, 0)) filter (ranked.day_rank <= {DRIFT_DAYS})
    ) end
from ranked
left join repeated on ranked.trait = repeated.trait
group by ranked.trait
"""

# A stay ends by leaving only where behaviour made the change; it is censored by another cause, and at the end.
_STAYS = """
with steps as (
    select
        opening.trait, opening.entity_id, windows.opening as stepped_on, opening.since,
        declared.is_number or opening.value = declared.member as is_member, true as is_flip
    from opening
    inner join windows on opening.trait = windows.trait
    inner join declared on opening.trait = declared.trait
    union all
    select moves.trait, moves.entity_id, grid.ends, grid.ends, moves.is_member, moves.is_flip
    from moves
    inner join grid on moves.number = grid.number
    where moves.is_member != moves.was_member
),
followed as (
    select
        *,
        lead(stepped_on) over entity as next_at,
        lead(is_flip) over entity as next_is_flip
    from steps
    window entity as (partition by trait, entity_id order by stepped_on)
)
select
    trait,
    date_diff('day', since, stepped_on) as found_at,
    date_diff('day', since, coalesce(next_at, $ending)) as ended_at,
    coalesce(next_is_flip, false) as has_left,
    count(*)
from followed
where is_member
group by all
"""
