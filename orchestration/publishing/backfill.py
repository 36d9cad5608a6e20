"""History of days before a trait was published, as rows of the ledger with cause ``backfill``.

What was published is never overwritten: a day at or after a trait's first publish stays as it is, and so does a day
that was backfilled before, also by another version of the definition. Values do not change, so nothing is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.published.objections import create_objectors, is_objector
from orchestration.published.rows import insert_row
from orchestration.published.tables import BACKFILLED_DAYS, PUBLISHED_TABLES


@dataclass(frozen=True)
class Missing:
    """Days of one trait that have no history, and how many days are left out.

    Attributes:
        trait: whose days.
        clocks: the midnights that end these days, naive UTC, rising.
        published: days left out because they are at or after the first publish.
        backfilled: days left out because an earlier backfill has written them.
        other_version: of the backfilled days, those written with another version of the definition.

    """

    trait: Trait
    clocks: tuple[datetime, ...]
    published: int
    backfilled: int
    other_version: int


def backfill_id(clock: datetime) -> str:
    """What stands for a backfilled day in columns of build_id."""
    return f"backfill-{clock:%Y%m%dT%H%M%SZ}"


def missing_days(
    connection: duckdb.DuckDBPyConnection, traits: Sequence[Trait], clocks: Sequence[datetime]
) -> list[Missing]:
    """Which of these days each trait lacks; a day is given as the midnight that ends it, naive UTC."""
    connection.execute(PUBLISHED_TABLES + BACKFILLED_DAYS)
    first_published = dict(
        connection.execute(
            "select trait, min(as_of) from traits.trait_changes where cause != 'backfill' group by trait"
        ).fetchall()
    )
    done: dict[str, dict[datetime, int]] = {}
    for name, as_of, version in connection.execute(
        "select trait, as_of, definition_version from state.backfilled_days"
    ).fetchall():
        done.setdefault(name, {})[as_of] = version
    found = []
    for trait in traits:
        before = [clock for clock in clocks if clock < first_published.get(trait.name, datetime.max)]
        versions = done.get(trait.name, {})
        kept = [versions[clock] for clock in before if clock in versions]
        found.append(
            Missing(
                trait=trait,
                clocks=tuple(clock for clock in before if clock not in versions),
                published=len(clocks) - len(before),
                backfilled=len(kept),
                other_version=sum(version != trait.version for version in kept),
            )
        )
    return found


def backfill_trait(connection: duckdb.DuckDBPyConnection, trait: Trait, clock: datetime, *, publishable: bool) -> int:
    """Writes one day of one trait, and that the day is done. Call it in a transaction.

    Args:
        connection: the warehouse, in which the day is replayed: ``replay_candidates`` holds its rows, and
            ``replay_state`` the state before it.
        trait: whose day.
        clock: the midnight that ends the day, naive UTC.
        publishable: whether publishing would have published it; if not, the day changes nothing.

    Returns:
        How many rows were added to the ledger.

    """
    written = _write(connection, trait, clock) if publishable else 0
    row = {"trait": trait.name, "as_of": clock, "definition_version": trait.version, "publishable": publishable}
    insert_row(connection, "state.backfilled_days", row)
    return written


def _write(connection: duckdb.DuckDBPyConnection, trait: Trait, clock: datetime) -> int:
    create_objectors(connection)
    row = connection.execute(
        f"""
        insert into traits.trait_changes by name
        with incoming as (
            select {trait.id_column} as entity_id, cast(value as varchar) as value
            from replay_candidates."{trait.name}"
            where not {is_objector(trait.entity, trait.id_column)}
        ),
        known as (
            select entity_id, value, since from replay_state.trait_state
            where trait = $trait and entity_type = $entity
        ),
        visitors as (
            select user_id as entity_id, is_anonymous from identity.dim_users where $entity = 'user'
        )
        select
            (select coalesce(max(seq), 0) from traits.trait_changes)
            + row_number() over (order by coalesce(i.entity_id, k.entity_id)) as seq,
            $entity as entity_type, coalesce(i.entity_id, k.entity_id) as entity_id, $trait as trait,
            k.value as old_value, i.value as new_value, k.since as old_since,
            $clock as as_of, $build_id as build_id, 'backfill' as cause,
            case when $entity = 'account' then false else u.is_anonymous end as is_anonymous
        from incoming as i
        full join known as k on i.entity_id = k.entity_id
        left join visitors as u on coalesce(i.entity_id, k.entity_id) = u.entity_id
        where i.value is distinct from k.value
        """,
        {"trait": trait.name, "entity": trait.entity, "clock": clock, "build_id": backfill_id(clock)},
    ).fetchone()
    connection.execute(
        f"""
        insert into traits.trait_thresholds by name
        with carried as (
            select json_extract(evidence, '$.thresholds') as thresholds from replay_candidates."{trait.name}" limit 1
        ),
        incoming as (
            select unnest(json_keys(thresholds)) as threshold, thresholds from carried
        ),
        valued as (
            select threshold, try_cast(json_extract_string(thresholds, '$."' || threshold || '"') as double) as value
            from incoming
        ),
        known as (
            select threshold, value from replay_state.trait_thresholds where trait = $trait
        )
        select
            $trait as trait, v.threshold, v.value, $version as definition_version, $clock as as_of,
            $build_id as build_id
        from valued as v
        left join known as k on v.threshold = k.threshold
        where k.threshold is null or v.value is distinct from k.value
        """,
        {"trait": trait.name, "version": trait.version, "clock": clock, "build_id": backfill_id(clock)},
    )
    return int(row[0]) if row else 0
