"""Rows that broke an expectation, kept to find out why: a few of them, and how many there were."""

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
    """Replaces the rows that are kept of this build and trait, and deletes those of old builds.

    Args:
        connection: the warehouse.
        build_id: the build that was judged.
        trait: whose candidate.
        query: SQL of the rows that the suite looked at.
        suite: the expectations.
        checks: their results.

    """
    connection.execute(FAILED_ROWS)
    connection.execute("delete from state.failed_rows where build_id = $1 and trait = $2", [build_id, trait.name])
    failed = {check.name for check in checks if not check.passed}
    for expected in suite:
        if expected.rows and expected.name in failed:
            connection.execute(
                f"""
                insert into state.failed_rows by name
                with batch as ({query})
                select
                    $build_id as build_id, $trait as trait, $check as check_name, count(*) over () as total,
                    cast({trait.id_column} as varchar) as entity_id, cast(to_json(batch) as varchar) as row_json
                from batch
                where {expected.rows}
                order by {trait.id_column}
                limit {ROWS_KEPT}
                """,
                {"build_id": build_id, "trait": trait.name, "check": expected.name},
            )
    connection.execute(
        """
        delete from state.failed_rows where build_id not in (
            select distinct build_id from state.failed_rows order by build_id desc limit $1
        )
        """,
        [BUILDS_KEPT],
    )
