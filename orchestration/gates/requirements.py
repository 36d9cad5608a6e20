"""Whether the events contain what a trait needs: behaviours, and failures and successes of steps."""

from __future__ import annotations

from datetime import date

import duckdb

from orchestration.declarations.traits import STEP_OUTCOMES, Trait

_OBSERVED = """
    select 1 from features.observed_behaviours where behaviour = $1 and first_observed_date <= $2
"""


WHERE_MEANINGS_ARE = "seeds/event_catalog.csv says what events mean."


def missing_behaviour(connection: duckdb.DuckDBPyConnection, trait: Trait, until: date | None = None) -> str:
    """Why a trait cannot be decided from these events, as a sentence; empty when it can.

    What it needs is missing when the event catalogue maps no event to it, or when no such event has happened.

    Args:
        connection: the warehouse.
        trait: whose ``needs``.
        until: the last day (reporting time zone) that counts; all days when not given.

    """
    mapped = _mapped(connection)
    for needed in trait.needs:
        what = f"a step's {needed}" if needed in STEP_OUTCOMES else needed
        if needed not in mapped:
            return f"The event catalogue maps no event to {what}, which this trait needs."
        if connection.execute(_OBSERVED, [needed, until or date.max]).fetchone() is None:
            return (
                f"No loaded event means {what}, which this trait needs; seeds/event_catalog.csv says what events mean."
            )
    return ""


def _mapped(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Behaviours and outcomes that the event catalogue maps an event to."""
    rows = connection.execute("select distinct behaviour, outcome from events.catalog_rules").fetchall()
    return {name for row in rows for name in row if name}
