"""The published catalogue: one row for each declared trait, with its declaration, verdict, lift and stability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.gates.verdicts import Verdict
from orchestration.published.rows import fetch_rows, insert_row


def prepare_catalog(connection: duckdb.DuckDBPyConnection, catalog: Catalog, verdicts: Mapping[str, Verdict]) -> None:
    """Makes the new catalogue beside the old: the temporary table ``new_catalog``.

    Args:
        connection: the warehouse.
        catalog: what is declared.
        verdicts: of the current build, by trait; a trait without one keeps its last row, but for whom it is served to.

    """
    connection.execute("create or replace temp table new_catalog as select * from traits.trait_catalog limit 0")
    lifts = _measured(connection, "trait_lift", "lift, lift_low, lift_high, as_of as lift_as_of")
    stability = _measured(
        connection,
        "trait_stability",
        "flip_rate, member_flip_rate, repeat_flip_share, median_dwell_days, prevalence_drift, stability_days, grade,"
        " grade_reason",
    )
    for trait in catalog.traits:
        verdict = verdicts.get(trait.name)
        if verdict is None:
            connection.execute(
                "insert into new_catalog by name select * replace ($2 as serve, $3 as default_value)"
                " from traits.trait_catalog where trait = $1",
                [trait.name, trait.serve, trait.default_value],
            )
            continue
        row = {
            "trait": trait.name,
            "title": trait.title,
            "entity_type": trait.entity,
            "value_type": trait.type,
            "description": trait.description,
            "purpose": trait.purpose,
            "owner": trait.owner,
            "definition_version": trait.version,
            "verdict": verdict.verdict,
            "verdict_reason": verdict.reason,
            "population": verdict.population,
            "eligible": verdict.eligible,
            "members": verdict.members,
            "prevalence": round(verdict.prevalence, 4),
            "outcome": trait.outcome.title,
            "everyone": trait.everyone,
            "serve": trait.serve,
            "default_value": trait.default_value,
        }
        row |= lifts.get(trait.name, {}) | stability.get(trait.name, {})
        insert_row(connection, "new_catalog", row)


def _measured(connection: duckdb.DuckDBPyConnection, table: str, columns: str) -> dict[str, dict[str, Any]]:
    """What a table of schema measurement says of each trait, by column; nothing before it was first measured."""
    exists = "select 1 from duckdb_tables() where schema_name = 'measurement' and table_name = $1"
    if connection.execute(exists, [table]).fetchone() is None:
        return {}
    rows = fetch_rows(connection, f"select trait, {columns} from measurement.{table}")
    return {row.pop("trait"): row for row in rows}


def is_same_catalog(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the new catalogue has the rows of the published one."""
    different = connection.execute(
        """
        (select * from new_catalog except select * from traits.trait_catalog)
        union all
        (select * from traits.trait_catalog except select * from new_catalog)
        """
    ).fetchone()
    return different is None


def replace_catalog(connection: duckdb.DuckDBPyConnection) -> None:
    """Publishes the new catalogue; call it in a transaction."""
    connection.execute("delete from traits.trait_catalog")
    connection.execute("insert into traits.trait_catalog by name select * from new_catalog order by trait")
