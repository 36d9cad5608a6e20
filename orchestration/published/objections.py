"""Who has objected: users whose dated attributes say that they want no profiling, or no plays.

An attribute holds from the event that says it until one says otherwise. Every text but an empty one, false, 0, no, n,
f, off and none is an objection. ``no_profiling`` takes a user out of everything that is published of users and of what
scores are fitted to, and thereby out of syncs; events stay, and count in the sums of accounts. ``no_plays`` takes a
user out of plays alone.
"""

from __future__ import annotations

from typing import Literal

import duckdb

NO_PROFILING = "no_profiling"

_NO = ("", "false", "0", "no", "n", "f", "off", "none")


def create_objectors(
    connection: duckdb.DuckDBPyConnection, attribute: Literal["no_profiling", "no_plays"] = "no_profiling"
) -> None:
    """Makes the temporary table ``objectors`` (grain: entity_id) of users whose objection holds now."""
    found = "select 1 from duckdb_columns() where schema_name = 'identity' and table_name = 'attributes'"
    source = "identity.attributes"
    if connection.execute(found).fetchone() is None:
        source = "(select null as entity_id, '' as entity_type, '' as attribute, '' as value, null as valid_to)"
    connection.execute(
        f"""
        create or replace temp table objectors as
        select distinct cast(entity_id as varchar) as entity_id
        from {source}
        where
            entity_type = 'user' and attribute = $attribute and valid_to is null
            and not list_contains($no, lower(trim(coalesce(value, ''))))
        """,
        {"attribute": attribute, "no": list(_NO)},
    )


def is_objector(entity_type: str, entity_id: str) -> str:
    """SQL condition: whether an entity is in the table ``objectors``.

    Args:
        entity_type: user or account.
        entity_id: SQL of the entity's id.

    """
    return f"coalesce({entity_id} in (select entity_id from objectors), false)" if entity_type == "user" else "false"
