"""Rows that broke an expectation, kept to find out why: a few of them, and how many there were."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from orchestration.declarations.traits import Trait

# Grain: build x trait x check x row; at most ROWS_KEPT of total rows. row_json is the candidate's row and what is due.
FAILED_ROWS = """
create schema if not exists state;
create table if not exists state.failed_rows (
    build_id varchar, trait varchar, check_name varchar, total bigint, entity_id varchar, row_json varchar
);
"""
ROWS_KEPT = 20
BUILDS_KEPT = 10
_DUE = ("due_value", "due_score", "due_evidence", "old_value", "old_score")


def keep_failed_rows(
    connection: duckdb.DuckDBPyConnection, build_id: str, trait: Trait, steps: str, broken: Mapping[str, str]
) -> None:
    """Replaces the rows that are kept of this build and trait, and deletes those of old builds.

    Args:
        connection: the warehouse.
        build_id: the build that was judged.
        trait: whose candidate.
        steps: SQL of the step ``compared`` and those before it.
        broken: name of each check that failed, and the SQL condition of the rows that broke it.

    """
    connection.execute(FAILED_ROWS)
    connection.execute("delete from state.failed_rows where build_id = $1 and trait = $2", [build_id, trait.name])
    columns = ", ".join(f"{name} := {name}" for name in (trait.id_column, "value", "score", "evidence", "as_of", *_DUE))
    for name, condition in broken.items():
        connection.execute(
            f"""
            insert into state.failed_rows by name
            with {steps}
            select
                $build_id as build_id, $trait as trait, $check as check_name, count(*) over () as total,
                cast(entity_id as varchar) as entity_id, cast(to_json(struct_pack({columns})) as varchar) as row_json
            from compared
            where {condition}
            order by entity_id
            limit {ROWS_KEPT}
            """,
            {"build_id": build_id, "trait": trait.name, "check": name},
        )
    connection.execute(
        """
        delete from state.failed_rows where build_id not in (
            select distinct build_id from state.failed_rows order by build_id desc limit $1
        )
        """,
        [BUILDS_KEPT],
    )
