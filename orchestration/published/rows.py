"""Rows of the warehouse by the names of their columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import duckdb


def fetch_rows(
    connection: duckdb.DuckDBPyConnection, query: str, given: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Rows of a query, each as column name to value.

    Args:
        connection: the database.
        query: SQL.
        given: values of its named parameters.

    """
    result = connection.execute(query, dict(given or {}))
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def insert_row(connection: duckdb.DuckDBPyConnection, table: str, row: Mapping[str, Any]) -> None:
    """Adds a row, given as column name to value; columns that are not named are null."""
    values = ", ".join(f"${name}" for name in row)
    connection.execute(f"insert into {table} ({', '.join(row)}) values ({values})", dict(row))
