"""Hash of a candidate's content: a verdict names it, and only that content is published."""

from __future__ import annotations

import duckdb


def content_hash(connection: duckdb.DuckDBPyConnection, relation: str, id_column: str) -> str:
    """Hash of a candidate's rows that depends on every value and on no order; duplicates count."""
    row = connection.execute(
        f"""
        select count(*), coalesce(sum(cast(md5_number_lower(cast(
            json_array({id_column}, value, score, evidence, epoch_us(as_of)) as varchar
        )) as hugeint)), 0)
        from {relation}
        """
    ).fetchone() or (0, 0)
    return f"{row[0]}:{row[1]:x}"
