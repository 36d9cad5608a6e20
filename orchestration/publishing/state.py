"""The published state before a refresh, which hysteresis reads.

State advances on a daily grid: what counts is the value at the last midnight (reporting time zone) strictly before
as_of, so that hourly and daily refreshing agree at each midnight, and a refresh that is made again reads the same.
"""

from __future__ import annotations

from datetime import datetime

import duckdb

from orchestration.publishing.tables import PUBLISHED_TABLES


def copy_prior_state(connection: duckdb.DuckDBPyConnection, grid_point: datetime, schema: str = "state") -> None:
    """Writes ``<schema>.trait_state``: the published values as they were at a grid point.

    Starts from today's values and takes back the changes since, so the cost follows values and recent changes, not
    the length of the ledger.

    Args:
        connection: the warehouse.
        grid_point: naive UTC; changes with a later as_of are taken back.
        schema: ``state``, or another one for a replay of the past.

    """
    connection.execute(PUBLISHED_TABLES)
    connection.execute(f"create schema if not exists {schema}")
    connection.execute(
        f"""
        create or replace table {schema}.trait_state as
        with taken_back as (
            select
                entity_type, entity_id, trait,
                arg_min(coalesce(old_value, ''), seq) as value,
                arg_min(old_since, seq) as since
            from traits.trait_changes
            where as_of > $grid_point
            group by entity_type, entity_id, trait
        )
        select v.entity_type, v.entity_id, v.trait, v.value, v.since
        from traits.trait_values as v
        anti join taken_back as t
            on v.entity_type = t.entity_type and v.entity_id = t.entity_id and v.trait = t.trait
        union all
        select entity_type, entity_id, trait, value, since from taken_back where value != ''
        """,
        {"grid_point": grid_point},
    )
