"""What the last publishes of each trait were like: the past that the audit compares a candidate with.

It speaks of those who count: identified users, or all where a trait declares ``everyone``.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.published.rows import fetch_rows
from orchestration.published.tables import PUBLISHED_TABLES
from orchestration.published.who_counts import counts_everyone
from orchestration.transform.build import Build


@dataclass(frozen=True)
class PublishedPast:
    """The published past of a trait: an entry for each day, oldest first, of the definition that is declared now.

    Attributes:
        rows: entities that have a published value now.
        populations: entities judged in each publish.
        shares: share of members in each.
        flips: entities whose value changed in each, first values and last ones not counted.
        medians: of the absolute scores that are not 0, in each publish that has such.
        p95s: the same, larger than 95% of them.
        days: from the last publish to the build that is judged.

    """

    rows: int = 0
    populations: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    flips: tuple[int, ...] = ()
    medians: tuple[float, ...] = ()
    p95s: tuple[float, ...] = ()
    days: float = 1


def read_pasts(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, build: Build, most: int
) -> dict[str, PublishedPast]:
    """The published past of each declared trait, without this build, later builds and those that were rolled back.

    Args:
        connection: the warehouse.
        catalog: what is declared; values of another version of a definition are not comparable and left out.
        build: the build that is judged.
        most: how many publishes, one for each day.

    """
    connection.execute(PUBLISHED_TABLES)
    of_everyone = [trait.name for trait in catalog.traits if counts_everyone(trait)]
    found = fetch_rows(
        connection,
        """
        with judged as (
            select
                v.trait, v.population, v.members, v.score_median, v.score_p95, v.as_of,
                cast(v.as_of - interval 1 microsecond as date) as day
            from traits.gate_verdicts as v
            inner join traits.builds as b on v.build_id = b.build_id
            where
                v.verdict = 'passed' and v.population > 0 and not coalesce(b.rolled_back, false)
                and list_contains($declared, v.trait || ' ' || v.definition_version)
                and v.build_id != $build_id and v.as_of <= $as_of
        ),
        daily as (
            select * from judged
            qualify row_number() over (partition by trait, day order by as_of desc) = 1
        ),
        newest as (
            select * from daily
            qualify row_number() over (partition by trait order by as_of desc) <= $most
        ),
        flipped as (
            select trait, cast(as_of - interval 1 microsecond as date) as day, count(distinct entity_id) as flips
            from traits.trait_changes
            where
                old_value is not null and new_value is not null and cause in ('behaviour', 'waived')
                and (list_contains($of_everyone, trait) or is_anonymous is not true)
                and as_of >= (select min(as_of) - interval 1 day from newest)
            group by all
        )
        select
            n.trait,
            list(n.population order by n.as_of) as populations,
            list(n.members / n.population order by n.as_of) as shares,
            list(coalesce(f.flips, 0) order by n.as_of) as flips,
            coalesce(list(n.score_median order by n.as_of) filter (n.score_median is not null), []) as medians,
            coalesce(list(n.score_p95 order by n.as_of) filter (n.score_p95 is not null), []) as p95s,
            max(n.as_of) as last_as_of
        from newest as n
        left join flipped as f on n.trait = f.trait and n.day = f.day
        group by n.trait
        """,
        {
            "build_id": build.build_id,
            "as_of": build.as_of,
            "most": most,
            "declared": [f"{trait.name} {trait.version}" for trait in catalog.traits],
            "of_everyone": of_everyone,
        },
    )
    rows = dict(
        connection.execute(
            """
            select trait, count(*) from traits.trait_values
            where list_contains($1, trait) or is_anonymous is not true
            group by trait
            """,
            [of_everyone],
        ).fetchall()
    )
    pasts = {trait.name: PublishedPast(rows=rows.get(trait.name, 0)) for trait in catalog.traits}
    for past in found:
        trait, last = past.pop("trait"), past.pop("last_as_of")
        pasts[trait] = PublishedPast(
            rows=rows.get(trait, 0),
            days=(build.as_of - last).total_seconds() / 86_400,
            **{name: tuple(numbers) for name, numbers in past.items()},
        )
    return pasts
