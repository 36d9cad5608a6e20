"""The feature rows that candidates are compared with: read once for a gate run, and counted again from the activity.

A feature that counts events or active days in a window is a sum of days, and silence is the distance to the last of
them. So a row that is lost, the window of another day, or two columns that are swapped, is found in the rows
themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.gates.recompute import features_of
from orchestration.published.rows import fetch_rows

_WINDOW = re.compile(r"(previous_)?([a-z_]+?)_(\d+)d")
_MEASURES = {"active_days": "", "active_seconds": "active_seconds"}
# Counted from more than the days of the entity, or from no day that activity knows.
_OTHER = re.compile(r"^active_users|_since_|^features$|_feature_|_first$")

# Temporary relation of the entities that have become part of another; grain: entity_type x entity_id.
MERGED = "audited_merged"


@dataclass(frozen=True)
class FeatureRows:
    """Features of one entity.

    Attributes:
        rows: SQL name of their relation.
        counted: the same as the activity says, those of ``wrong`` alone.
        size: how many rows.
        wrong: feature -> entities for which the activity says something else.
        lost: entities with activity and without features, and rows of another clock.

    """

    rows: str
    counted: str
    size: int
    wrong: dict[str, int]
    lost: int

    def wrong_for(self, trait: Trait) -> int:
        """How many entities disagree at least in a feature that the trait reads."""
        return self.lost + max((self.wrong.get(column.name, 0) for column in trait.features), default=0)

    def disagreeing(self, trait: Trait) -> str:
        """SQL: ids of the entities for which a feature of the trait is not what the activity says."""
        id_column = trait.id_column
        own = [column.name for column in trait.features if column.name in self.wrong]
        differ = " or ".join(f"f.{name} is distinct from a.{name}" for name in own) or "false"
        return f"""
            select coalesce(f.{id_column}, a.{id_column})
            from {self.rows} as f full join {self.counted} as a using ({id_column})
            where {differ} or f.{id_column} is null
        """


def read_features(
    connection: duckdb.DuckDBPyConnection, traits: Iterable[Trait], as_of: datetime, last_date: date
) -> FeatureRows:
    """Makes the temporary relations of an entity.

    Args:
        connection: the warehouse.
        traits: of one entity; at least one.
        as_of: the clock that each row must have, naive UTC.
        last_date: the last day (reporting time zone) before it.

    """
    of_entity = [*traits]
    entity = of_entity[0].entity
    id_column, rows, days = f"{entity}_id", f"audited_{entity}_features", f"audited_{entity}_activity"
    names = dict.fromkeys(name for trait in of_entity for name in features_of(trait))
    connection.execute(
        f"create or replace temp table {rows} as"
        f" select {', '.join(names)}, as_of as features_as_of from features.{entity}_features"
    )
    counted = _counted_columns(connection, entity, names, last_date)
    columns = "".join(f", {sql} as {name}" for name, sql in counted.items())
    connection.execute(
        f"""
        create or replace temp table {days} as
        select {id_column}{columns} from activity.fct_{entity}_activity_daily
        where activity_date <= date '{last_date}'
        group by {id_column}
        """
    )
    differ = "".join(f", count(*) filter (f.{name} is distinct from a.{name}) as {name}" for name in counted)
    (found,) = fetch_rows(
        connection,
        f"""
        select
            count(f.{id_column}) as rows,
            count(*) filter (f.{id_column} is null or f.features_as_of is distinct from $as_of) as lost
            {differ}
        from {rows} as f full join {days} as a on f.{id_column} = a.{id_column}
        """,
        {"as_of": as_of},
    )
    return FeatureRows(rows, days, found.pop("rows"), lost=found.pop("lost"), wrong=found)


def read_merged(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes ``MERGED``: ids that are another user's now."""
    connection.execute(
        f"""
        create or replace temp table {MERGED} as
        with others as (
            select user_key as node_key from identity.identity_merges where not is_canonical
            union
            select anonymous_key from identity.identity_links
        )
        select 'user' as entity_type, node_id as entity_id
        from identity.identity_nodes semi join others using (node_key)
        """
    )


def _counted_columns(
    connection: duckdb.DuckDBPyConnection, entity: str, names: Iterable[str], last_date: date
) -> dict[str, str]:
    """Feature -> SQL aggregate over the days of an entity, for those that are counted from days."""
    described = connection.execute(f"select * from activity.fct_{entity}_activity_daily limit 0").description or []
    measures = {column[0] for column in described}
    counted = {}
    for name in names:
        if name == "silent_days":
            counted[name] = f"date '{last_date}' - max(activity_date)"
        elif (window := _WINDOW.fullmatch(name)) and not _OTHER.search(window[2]):
            measure = _MEASURES.get(window[2], f"{window[2].removesuffix('s')}_count")
            measure = f"{window[2]}_count" if f"{window[2]}_count" in measures else measure
            if measure and measure not in measures:
                continue
            days = int(window[3])
            newest, oldest = (days, 2 * days) if window[1] else (0, days)
            is_inside = (
                f"date '{last_date}' - activity_date >= {newest} and date '{last_date}' - activity_date < {oldest}"
            )
            total = f"sum({measure})" if measure else "count(*)"
            counted[name] = f"cast(coalesce({total} filter ({is_inside}), 0) as bigint)"
    return counted
