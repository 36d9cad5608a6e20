"""Whether a trait can be told from the events there are at all."""

from __future__ import annotations

from datetime import date

import duckdb

from orchestration.declarations.traits import Trait


def unmet_need(connection: duckdb.DuckDBPyConnection, trait: Trait, until: date | None = None) -> str:
    """Why a trait cannot be told from these events: a behaviour that no rule, or no event, stands for; else empty.

    Args:
        connection: the warehouse.
        trait: whose needs.
        until: the last day (reporting time zone) that counts; all when not given.

    """
    mapped = {row[0] for row in connection.execute("select distinct behaviour from events.catalog_rules").fetchall()}
    for need in trait.needs:
        if need not in mapped:
            return f"The event catalogue maps no event to {need}, which this trait needs."
        happened = (
            f"select 1 from activity.fct_user_activity_daily where {need}_count > 0 and activity_date <= $1 limit 1"
        )
        if connection.execute(happened, [until or date.max]).fetchone() is None:
            return f"No loaded event means {need}, which this trait needs; traithouse doctor lists unmapped events."
    return ""
