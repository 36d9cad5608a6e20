"""The past, computed again: features and candidates as of past clocks, from the project's own SQL.

What a refresh at that clock would have made of the events that are known now. The models are compiled once, with a
clock that stands for any, and run for each past clock in schemas of their own; the state that hysteresis and smoothed
thresholds read is carried from one clock to the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from graphlib import TopologicalSorter

import duckdb

from orchestration.catalog import NOT_ENOUGH_EVIDENCE, Trait
from orchestration.project import House
from orchestration.publishing.needs import unmet_need
from orchestration.publishing.state import copy_prior_state
from orchestration.warehouse.clock import grid_point_before, local_date
from orchestration.warehouse.dbt import DbtProject

REPLAYED_SCHEMAS = ("features", "candidates", "state")

# An instant that no data has; its text in compiled SQL is where the clock stands.
ANY_CLOCK, ANY_DATE = "2222-02-22 22:22:22", "2222-02-22"


class Replay:
    """Models of the features and traits, ready to be run for any clock."""

    def __init__(self, house: House, project: DbtProject, traits: Sequence[str] = ()) -> None:
        """Compiles the named traits, or all, with what they need; call it under the lock and with no open connection.

        Raises:
            TraithouseError: a model does not compile.
            UsageError: there is no such trait.

        """
        self.house = house
        self.project = project
        self.catalog = project.catalog
        self.traits = tuple(self.catalog.trait(name) for name in traits) or self.catalog.traits
        sql = project.compiled(
            select=["path:models/features", "path:models/traits"], variables={"as_of": ANY_CLOCK, "build_id": "replay"}
        )
        nodes = project.manifest_dict["nodes"]
        parents = {
            unique_id: [parent for parent in nodes[unique_id]["depends_on"]["nodes"] if parent in sql]
            for unique_id in sql
        }
        needed = {unique_id for unique_id in sql if nodes[unique_id]["name"] in {trait.name for trait in self.traits}}
        waiting = list(needed)
        while waiting:
            for parent in parents[waiting.pop()]:
                if parent not in needed:
                    needed.add(parent)
                    waiting.append(parent)
        in_order = TopologicalSorter({unique_id: parents[unique_id] for unique_id in needed}).static_order()
        self.statements = [_statement(nodes[unique_id], sql[unique_id]) for unique_id in in_order]
        names = {nodes[unique_id]["name"] for unique_id in needed}
        # A trait that another one reads has its own state to carry.
        self.carried = tuple(trait for trait in self.catalog.traits if trait.name in names)

    @contextmanager
    def over(
        self, connection: duckdb.DuckDBPyConnection, clocks: Sequence[datetime], *, remembers: bool = True
    ) -> Iterator[Iterator[datetime]]:
        """An iterator over the clocks, naive UTC and rising; at each, ``replay_candidates`` holds the rows as of then.

        The first clock's prior state is what was published at the grid point before it. Without ``remembers`` every
        clock's prior values are empty, as if there were no hysteresis. At the end the schemas are dropped.
        """
        try:
            yield self._clocks(connection, clocks, remembers)
        finally:
            drop_replayed(connection)

    def _clocks(
        self, connection: duckdb.DuckDBPyConnection, clocks: Sequence[datetime], remembers: bool
    ) -> Iterator[datetime]:
        drop_replayed(connection)
        for schema in REPLAYED_SCHEMAS:
            connection.execute(f"create schema replay_{schema}")
        for number, clock in enumerate(clocks):
            if not number:
                grid_point = grid_point_before(clock, self.project.time_zone)
                copy_prior_state(connection, self.catalog, grid_point, "replay_state")
            if not remembers:
                connection.execute("delete from replay_state.trait_state")
            # The clock is exclusive: at midnight the last day is the one that ended.
            last_date = str(local_date(clock - timedelta(microseconds=1), self.project.time_zone))
            for statement in self.statements:
                connection.execute(statement.replace(ANY_CLOCK, str(clock)).replace(ANY_DATE, last_date))
            yield clock
            for trait in self.carried:
                if is_told(connection, trait):
                    _carry(connection, trait, clock)


def drop_replayed(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave nothing of a replay."""
    for schema in REPLAYED_SCHEMAS:
        connection.execute(f"drop schema if exists replay_{schema} cascade")


def is_told(connection: duckdb.DuckDBPyConnection, trait: Trait, schema: str = "replay_candidates") -> bool:
    """Whether a trait would be published at this clock: nothing is missing, and there is evidence enough."""
    if unmet_need(connection, trait):
        return False
    row = connection.execute(
        f"""
        select count(*), count(*) filter (json_extract_string(evidence, '$.rule') = $1) from {schema}."{trait.name}"
        """,
        [NOT_ENOUGH_EVIDENCE],
    ).fetchone()
    return bool(row and row[0] and not row[1])


def _statement(node: dict[str, object], sql: str) -> str:
    for schema in REPLAYED_SCHEMAS:
        sql = sql.replace(f'"{schema}".', f'"replay_{schema}".')
    kind = "view" if node["config"]["materialized"] == "view" else "table"  # type: ignore[index]
    return f'create or replace {kind} "replay_{node["schema"]}"."{node["name"]}" as {sql}'


def _carry(connection: duckdb.DuckDBPyConnection, trait: Trait, clock: datetime) -> None:
    """The next clock's prior state: what publishing would have written."""
    given = {"trait": trait.name, "entity": trait.entity, "clock": clock}
    connection.execute(
        f"""
        create or replace temp table carried as
        select
            c.{trait.id_column} as entity_id,
            cast(c.value as varchar) as value,
            case when cast(c.value as varchar) = s.value then s.since else $clock end as since
        from replay_candidates."{trait.name}" as c
        left join replay_state.trait_state as s
            on s.trait = $trait and s.entity_type = $entity and c.{trait.id_column} = s.entity_id
        where c.value is not null
        """,
        given,
    )
    connection.execute("delete from replay_state.trait_state where trait = $1", [trait.name])
    connection.execute(
        "insert into replay_state.trait_state by name select $1 as entity_type, $2 as trait, * from carried",
        [trait.entity, trait.name],
    )
    connection.execute("delete from replay_state.trait_thresholds where trait = $1", [trait.name])
    connection.execute(
        f"""
        insert into replay_state.trait_thresholds
        select $1, threshold, try_cast(json_extract_string(thresholds, '$."' || threshold || '"') as double)
        from (
            select unnest(json_keys(thresholds)) as threshold, thresholds
            from (
                select json_extract(evidence, '$.thresholds') as thresholds
                from replay_candidates."{trait.name}" limit 1
            )
        )
        """,
        [trait.name],
    )
