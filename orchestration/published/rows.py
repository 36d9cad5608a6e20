"""Rows of a query by the names of their columns."""

from __future__ import annotations

from typing import Any

import duckdb


def named_rows(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """All rows of the statement that was executed last, each as column name -> value."""
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
