"""Whether the events contain every behaviour that a trait requires."""

from __future__ import annotations

from datetime import date

import duckdb

from orchestration.declarations.traits import Trait


def missing_behaviour(connection: duckdb.DuckDBPyConnection, trait: Trait, until: date | None = None) -> str:
    """Why a trait cannot be decided from these events, as a sentence; empty when it can.

    A required behaviour is missing when the event catalogue maps no event to it, or when no such event has happened.

    Args:
        connection: the warehouse.
        trait: whose ``needs``.
        until: the last day (reporting time zone) that counts; all days when not given.

    """
    mapped = {row[0] for row in connection.execute("select distinct behaviour from events.catalog_rules").fetchall()}
    for behaviour in trait.needs:
        if behaviour not in mapped:
            return f"The event catalogue maps no event to {behaviour}, which this trait needs."
        happened = f"""
            select 1 from activity.fct_user_activity_daily
            where {behaviour}_count > 0 and activity_date <= $1
            limit 1
        """
        if connection.execute(happened, [until or date.max]).fetchone() is None:
            return (
                f"No loaded event means {behaviour}, which this trait needs; traithouse doctor lists unmapped events."
            )
    return ""
