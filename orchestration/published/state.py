"""The published state before a refresh, which hysteresis and smoothed thresholds read.

State advances on a daily grid: what counts is the value at the last midnight (reporting time zone) strictly before
as_of, so that hourly and daily refreshing agree at each midnight, and a refresh that is made again reads the same.
"""

from __future__ import annotations

from datetime import datetime

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.published.tables import BACKFILLED_DAYS, PUBLISHED_TABLES


def copy_prior_state(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, grid_point: datetime, schema: str = "state"
) -> None:
    """Writes ``<schema>.trait_state`` and ``<schema>.trait_thresholds``: what was published at a grid point.

    Starts from today's values and looks up those that changed since, so the cost follows values and recent changes; and
    all of a trait that has only been backfilled so far, for it has no values.

    Args:
        connection: the warehouse.
        catalog: what is declared; thresholds of another version of a definition are not comparable and left out.
        grid_point: naive UTC; changes with a later as_of are taken back.
        schema: ``state``, or another schema for a replay of the past.

    """
    connection.execute(PUBLISHED_TABLES + BACKFILLED_DAYS)
    connection.execute(f"create schema if not exists {schema}")
    connection.execute(
        f"""
        create or replace table {schema}.trait_state as
        with only_backfilled as (
            select distinct trait from state.backfilled_days anti join traits.trait_values using (trait)
        ),
        changed_since as (
            select distinct entity_type, entity_id, trait from traits.trait_changes where as_of > $grid_point
            union
            select distinct entity_type, entity_id, trait
            from traits.trait_changes semi join only_backfilled using (trait)
        ),
        taken_back as (
            {ledger_state("semi join changed_since using (entity_type, entity_id, trait) where as_of <= $grid_point")}
        )
        select v.entity_type, v.entity_id, v.trait, v.value, v.since
        from traits.trait_values as v
        anti join changed_since as c
            on v.entity_type = c.entity_type and v.entity_id = c.entity_id and v.trait = c.trait
        union all
        select * from taken_back
        """,
        {"grid_point": grid_point},
    )
    connection.execute(
        f"""
        create or replace table {schema}.trait_thresholds as
        select trait, threshold, arg_max(value, (as_of, build_id)) as value
        from traits.trait_thresholds
        where as_of <= $grid_point and list_contains($declared, trait || ' ' || definition_version)
        group by trait, threshold
        """,
        {"grid_point": grid_point, "declared": [f"{trait.name} {trait.version}" for trait in catalog.traits]},
    )


def ledger_state(rows: str) -> str:
    """SQL of the values that some rows of the ledger add up to: the last of each entity and trait, unless it is null.

    Backfilled rows are older than their place in the ledger, so as_of counts before seq.
    """
    return f"""
        select
            entity_type, entity_id, trait,
            arg_max(coalesce(new_value, ''), (as_of, seq)) as value, arg_max(as_of, (as_of, seq)) as since
        from traits.trait_changes {rows}
        group by entity_type, entity_id, trait
        having arg_max(coalesce(new_value, ''), (as_of, seq)) != ''
    """
