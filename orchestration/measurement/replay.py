"""The past, computed again: features and candidates as of past clocks, from the project's own SQL.

The result is what a refresh at that clock would have made of the events and the identity that are known now. The models
are compiled once, with a placeholder for the clock, and run for each past clock in schemas of their own. The state that
hysteresis and smoothed thresholds read is carried from one clock to the next.

Features read whole days. A clock at midnight (reporting time zone) sees the events before it. A clock within a day
would see that whole day, so it is right only when the warehouse itself was built up to it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from graphlib import TopologicalSorter
from typing import Any

import duckdb

from orchestration.declarations.traits import NOT_ENOUGH_EVIDENCE, Trait
from orchestration.errors import TraithouseError
from orchestration.gates.requirements import missing_behaviour
from orchestration.home import Notify, silent
from orchestration.published.state import copy_prior_state
from orchestration.published.who_counts import counted
from orchestration.transform.clock import grid_point_before, local_date
from orchestration.transform.dbt import Project

REPLAYED_SCHEMAS = ("features", "candidates", "state")

# The placeholder: an instant that no data has. Its text and that of its last day in compiled SQL are replaced.
ANY_CLOCK = datetime(2222, 2, 22, 12)
# What the SQL of a model holds that computes with the clock in Jinja instead of SQL.
_COMPUTED = re.compile(r"\b222[123]-\d\d-\d\d")


class Replay:
    """Models of the features and traits, ready to be run for any clock."""

    def __init__(self, project: Project, traits: Sequence[str] = ()) -> None:
        """Compiles the named traits, or all, with what they need; call it under the lock and with no open connection.

        Raises:
            TraithouseError: a model does not compile.
            UsageError: there is no such trait, or the models are on another engine.

        """
        project.home.need_models_here("Looking at the past")
        self.home = project.home
        self.project = project
        self.catalog = project.catalog
        self.traits = tuple(self.catalog.trait(name) for name in traits) or self.catalog.traits
        sql = project.compiled(
            select=["path:models/features", "path:models/traits"],
            variables={"as_of": str(ANY_CLOCK), "build_id": "replay"},
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
        self._readers = Counter(parent for unique_id in needed for parent in parents[unique_id])
        self.any_date = str(last_date(ANY_CLOCK, project.time_zone))
        self.statements = [self._statement(nodes[unique_id], sql[unique_id]) for unique_id in in_order]
        names = {nodes[unique_id]["name"] for unique_id in needed}
        # Traits that other traits read have a state to carry, too.
        self.carried = tuple(trait for trait in self.catalog.traits if trait.name in names)

    def _statement(self, node: dict[str, Any], sql: str) -> str:
        """The statement that makes a model's relation; a declared contract decides its types, as it does in a build."""
        if _COMPUTED.search(sql.replace(str(ANY_CLOCK), "").replace(self.any_date, "")):
            raise TraithouseError(
                f"{node['name']} cannot be replayed: it computes with as_of in Jinja.",
                "Use as_of(), as_of_date() and days_ago() alone for times, and compute in SQL.",
            )
        for schema in REPLAYED_SCHEMAS:
            sql = sql.replace(f'"{schema}".', f'"replay_{schema}".')
        if node["config"]["contract"]["enforced"]:
            columns = [
                f'cast("{name}" as {column["data_type"]}) as "{name}"' for name, column in node["columns"].items()
            ]
            sql = f"select {', '.join(columns)} from ({sql})"
        # A view that many models read would be computed for each of them.
        kind = (
            "view"
            if node["config"]["materialized"].startswith("view") and self._readers[node["unique_id"]] < 2
            else "table"
        )
        return f'create or replace {kind} "replay_{node["schema"]}"."{node["name"]}" as {sql}'

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
        previous = None
        for clock in clocks:
            grid_point = grid_point_before(clock, self.project.time_zone)
            if previous is None:
                copy_prior_state(connection, self.catalog, grid_point, "replay_state")
            elif previous <= grid_point:
                self._carry(connection, previous)
            previous = clock
            if not remembers:
                connection.execute("delete from replay_state.trait_state")
            date = str(last_date(clock, self.project.time_zone))
            for statement in self.statements:
                connection.execute(statement.replace(str(ANY_CLOCK), str(clock)).replace(self.any_date, date))
            yield clock

    def _carry(self, connection: duckdb.DuckDBPyConnection, clock: datetime) -> None:
        """Writes the next clock's prior state as publishing would; a trait that is not publishable keeps its own."""
        for trait in self.carried:
            if is_publishable(connection, trait, last_date(clock, self.project.time_zone)):
                _carry_values(connection, trait, clock)
                _carry_thresholds(connection, trait)


def replay(
    project: Project,
    clocks: Sequence[datetime],
    *,
    traits: Sequence[str] = (),
    notify: Notify = silent,
) -> Iterator[datetime]:
    """Yields the clocks one by one; until the next is asked for, ``replay_candidates`` holds the rows as of the clock.

    Hold the home's lock, run no dbt meanwhile, and close the generator (``contextlib.closing``) when it is left early.

    Args:
        project: whose models.
        clocks: naive UTC, rising.
        traits: names; all when none is given. Models and traits that they read are replayed with them.
        notify: progress.

    """
    models = Replay(project, traits)
    with project.home.connect() as connection, models.over(connection, clocks) as at_clocks:
        for number, clock in enumerate(at_clocks, start=1):
            notify(f"replayed {clock} ({number} of {len(clocks)})")
            yield clock


def last_date(clock: datetime, time_zone: str) -> date:
    """The last calendar day (reporting time zone) that has begun before a clock, as macros/clock.sql has it."""
    return local_date(clock - timedelta(microseconds=1), time_zone)


def drop_replayed(connection: duckdb.DuckDBPyConnection) -> None:
    """Drops the schemas of a replay."""
    for schema in REPLAYED_SCHEMAS:
        connection.execute(f"drop schema if exists replay_{schema} cascade")


def is_publishable(connection: duckdb.DuckDBPyConnection, trait: Trait, until: date) -> bool:
    """Whether a replayed trait could be published: its behaviours had happened by then, and evidence is sufficient.

    Evidence is that of those who count (orchestration/published/who_counts.py).
    """
    if missing_behaviour(connection, trait, until):
        return False
    row = connection.execute(
        f"""
        select count(*), count(*) filter (json_extract_string(evidence, '$.rule') = $1)
        from replay_candidates."{trait.name}"
        where {counted(trait, trait.id_column)}
        """,
        [NOT_ENOUGH_EVIDENCE],
    ).fetchone()
    return bool(row and row[0] and not row[1])


def _carry_values(connection: duckdb.DuckDBPyConnection, trait: Trait, clock: datetime) -> None:
    connection.execute(
        f"""
        create or replace temp table carried as
        select
            $entity as entity_type,
            c.{trait.id_column} as entity_id,
            $trait as trait,
            cast(c.value as varchar) as value,
            case when cast(c.value as varchar) = s.value then s.since else $clock end as since
        from replay_candidates."{trait.name}" as c
        left join replay_state.trait_state as s
            on s.trait = $trait and s.entity_type = $entity and c.{trait.id_column} = s.entity_id
        where c.value is not null
        """,
        {"trait": trait.name, "entity": trait.entity, "clock": clock},
    )
    connection.execute("delete from replay_state.trait_state where trait = $1", [trait.name])
    connection.execute("insert into replay_state.trait_state by name select * from carried")


def _carry_thresholds(connection: duckdb.DuckDBPyConnection, trait: Trait) -> None:
    """Carries the thresholds of the evidence; one that is missing there, or has no value, stays as it was."""
    connection.execute(
        f"""
        create or replace temp table carried as
        with evidence as (
            select json_extract(evidence, '$.thresholds') as thresholds from replay_candidates."{trait.name}" limit 1
        ),
        named as (
            select unnest(json_keys(thresholds)) as threshold, thresholds from evidence
        )
        select
            $trait as trait, threshold,
            try_cast(json_extract_string(thresholds, '$."' || threshold || '"') as double) as value
        from named
        """,
        {"trait": trait.name},
    )
    connection.execute(
        """
        delete from replay_state.trait_thresholds
        where trait = $1 and threshold in (select threshold from carried where value is not null)
        """,
        [trait.name],
    )
    connection.execute(
        """
        insert into replay_state.trait_thresholds by name
        select * from carried anti join replay_state.trait_thresholds using (trait, threshold)
        """
    )
