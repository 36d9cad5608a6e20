"""Hash of a candidate's content: a verdict names it, and only that content is published."""

from __future__ import annotations

import duckdb

from orchestration.declarations.traits import THRESHOLDS_SUFFIX

_ROWS = "select count(*), coalesce(sum(cast(md5_number_lower(cast({row} as varchar)) as hugeint)), 0) from {relation}"


def content_hash(connection: duckdb.DuckDBPyConnection, relation: str, id_column: str) -> str:
    """Hash of a candidate's rows, and of its thresholds where it has any.

    It depends on every value and on no order; duplicates count.
    """
    row = f"json_array({id_column}, value, score, evidence, epoch_us(as_of))"
    content = _hash(connection, row, relation)
    schema, name = relation.replace('"', "").split(".")
    found = "select 1 from duckdb_tables() where schema_name = $1 and table_name = $2"
    if connection.execute(found, [schema, name + THRESHOLDS_SUFFIX]).fetchone():
        thresholds = f'{schema}."{name}{THRESHOLDS_SUFFIX}"'
        content += "+" + _hash(connection, "to_json(thresholds)", f"{thresholds} as thresholds")
    return content


def _hash(connection: duckdb.DuckDBPyConnection, row: str, relation: str) -> str:
    found = connection.execute(_ROWS.format(row=row, relation=relation)).fetchone() or (0, 0)
    return f"{found[0]}:{found[1]:x}"
