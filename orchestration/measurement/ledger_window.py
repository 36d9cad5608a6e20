"""What the ledger says of a window of days: SQL that makes rates of change and spells of membership of it.

Days, members, flips and spells are defined in orchestration/measurement/stability.py. Anonymous visitors are left out,
unless a trait declares ``everyone``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.published.rows import insert_row
from orchestration.published.who_counts import counts_everyone

DRIFT_DAYS = 7
REPEATED = 3


def prepare_window(connection: duckdb.DuckDBPyConnection, traits: Sequence[Trait], grid: Sequence[datetime]) -> None:
    """Makes temporary tables: each trait's window, the values that it opens with, and the changes by day since.

    Values that have not changed since the opening are read from today's values. So of the ledger only the rows of the
    window are read, and earlier ones of the entities that these rows name.

    Args:
        connection: the warehouse.
        traits: whose windows.
        grid: naive UTC; the window's opening, and then the midnight that ends each of its days.

    """
    connection.execute(
        "create or replace temp table declared"
        " (trait varchar, version bigint, member varchar, is_number boolean, counts_everyone boolean)"
    )
    for trait in traits:
        member = "true" if trait.type == "boolean" else trait.outcome.value
        row = {"trait": trait.name, "version": trait.version, "member": member, "is_number": trait.type == "number"}
        insert_row(connection, "declared", row | {"counts_everyone": counts_everyone(trait)})
    connection.execute("create or replace temp table grid (begins timestamp, ends timestamp, number bigint)")
    for number, (begins, ends) in enumerate(pairwise(grid), start=1):
        insert_row(connection, "grid", {"begins": begins, "ends": ends, "number": number})
    connection.execute(
        """
        create or replace temp table publishable_clocks as
        with known as (
            select trait, as_of, definition_version as version from traits.gate_verdicts where verdict = 'passed'
            union all
            select trait, as_of, definition_version from state.backfilled_days where publishable
        )
        select known.trait, known.as_of
        from known
        inner join declared on known.trait = declared.trait and known.version = declared.version;

        create or replace temp table published_days as
        select distinct publishable_clocks.trait, grid.number, grid.ends
        from publishable_clocks
        inner join grid on publishable_clocks.as_of > grid.begins and publishable_clocks.as_of <= grid.ends;

        -- The first published day of a version is what later days are compared with, unless it was there before.
        create or replace temp table windows as
        with earlier as (
            select distinct trait from publishable_clocks where as_of <= (select min(begins) from grid)
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
        inner join windows on c.trait = windows.trait and c.as_of > windows.opening
        inner join declared on c.trait = declared.trait
        where declared.counts_everyone or c.is_anonymous is not true;

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
        inner join declared
            on v.trait = declared.trait and (declared.counts_everyone or v.is_anonymous is not true)
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


# Grain: one row a trait.
RATES = f"""
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
    any_value(ranked.day_count) as days,
    avg(ranked.flips / nullif(ranked.known, 0)) filter (ranked.is_compared) as flip_rate,
    avg((ranked.entered + ranked.gone) / nullif(ranked.members + ranked.gone, 0)) filter (ranked.is_compared)
        as member_flip_rate,
    any_value(repeated.share) as repeat_flip_share,
    case when any_value(ranked.day_count) >= 2 * {DRIFT_DAYS} then 100 * (
        avg(ranked.members / nullif(ranked.known, 0)) filter (ranked.day_rank > ranked.day_count - {DRIFT_DAYS})
        - avg(ranked.members / nullif(ranked.known, 0)) filter (ranked.day_rank <= {DRIFT_DAYS})
    ) end as prevalence_drift
from ranked
left join repeated on ranked.trait = repeated.trait
group by ranked.trait
"""

# Grain: trait x age found at x age ended at x has_left. Parameter ``ending``: the end of the window.
# A spell has left only where behaviour made the change; a change of another cause, and the window's end, censor it.
SPELLS = """
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
    count(*) as count
from followed
where is_member
group by all
"""
