"""Rows that broke an expectation, kept for whoever has to find out why: a few of them, and how many there were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.gates.engine import Expected
from orchestration.gates.verdicts import Check

# Grain: build x trait x check x row; at most ROWS_KEPT of total rows. row_json is the candidate's row.
FAILED_ROWS = """
create schema if not exists state;
create table if not exists state.failed_rows (
    build_id varchar, trait varchar, check_name varchar, total bigint, entity_id varchar, row_json varchar
);
"""
ROWS_KEPT = 20
BUILDS_KEPT = 10


def keep_failed_rows(
    connection: duckdb.DuckDBPyConnection,
    build_id: str,
    trait: Trait,
    query: str,
    suite: Sequence[Expected],
    checks: Iterable[Check],
) -> None:
    """Replaces what is kept of this build and trait, and forgets builds that are long past."""
    connection.execute(FAILED_ROWS)
    connection.execute("delete from state.failed_rows where build_id = $1 and trait = $2", [build_id, trait.name])
    failed = {check.name for check in checks if not check.passed}
    for one in suite:
        if one.rows and one.name in failed:
            connection.execute(
                f"""
                insert into state.failed_rows
                with batch as ({query})
                select
                    $build_id, $trait, $check, count(*) over (), cast({trait.id_column} as varchar),
                    cast(to_json(batch) as varchar)
                from batch
                where {one.rows}
                order by {trait.id_column}
                limit {ROWS_KEPT}
                """,
                {"build_id": build_id, "trait": trait.name, "check": one.name},
            )
    connection.execute(
        """
        delete from state.failed_rows where build_id not in (
            select distinct build_id from state.failed_rows order by build_id desc limit $1
        )
        """,
        [BUILDS_KEPT],
    )
