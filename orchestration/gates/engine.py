"""Runs a Great Expectations suite over a query of the warehouse, in SQL, on a connection that the caller owns.

Great Expectations closes the connection before it fetches, and duckdb-engine gives every cursor the same connection. So
rows are fetched when a statement is executed, and only the owner closes the connection.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb
from sqlalchemy.pool import StaticPool

from orchestration.gates.verdicts import Check

if TYPE_CHECKING:
    from great_expectations.data_context import AbstractDataContext

os.environ["GX_ANALYTICS_ENABLED"] = "false"


_EVERY_ROW = 1_000_000


@dataclass(frozen=True)
class Expected:
    """One expectation of a suite.

    Attributes:
        name: stable within the suite.
        type: name of the expectation in Great Expectations.
        kwargs: arguments of the expectation.
        severity: critical, warning or info: what a failure does.
        expected: in words, for a person.
        rows: SQL condition of the rows that break it; empty where it is about all rows together.

    """

    name: str
    type: str
    kwargs: dict[str, Any]
    severity: str = "critical"
    expected: str = ""
    rows: str = ""


@dataclass(frozen=True)
class Judged:
    """The result of one expectation over rows that have a key.

    Attributes:
        check: the result.
        broken: keys of the rows that broke it, in the order of the rows; empty when it held or could not be evaluated.

    """

    check: Check
    broken: tuple[Any, ...] = ()


class _BufferedCursor:
    """DBAPI cursor that holds its rows when the next statement runs."""

    rowcount = -1

    def __init__(self, connection: _BorrowedConnection) -> None:
        self.connection = connection
        self.description: Any = None
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, statement: str, parameters: Sequence[Any] | None = None, context: Any = None) -> None:
        cursor = self.connection.owned.execute(statement, parameters or None)
        self.description = cursor.description
        self._rows = cursor.fetchall() if cursor.description else []

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._rows = self._rows, []
        return rows

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def close(self) -> None:
        self._rows = []


class _BorrowedConnection:
    """DBAPI connection over a DuckDB connection that stays open."""

    def __init__(self, owned: duckdb.DuckDBPyConnection) -> None:
        self.owned = owned
        self.notices: list[str] = []

    def cursor(self) -> _BufferedCursor:
        return _BufferedCursor(self)

    def close(self) -> None:
        """Does nothing: the owner closes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.owned, name)


@cache
def context() -> AbstractDataContext:
    """The ephemeral context of the process; one only, for the import is slow and each context leaves a folder."""
    import great_expectations
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.disable(logging.INFO)
    try:
        context = great_expectations.get_context(mode="ephemeral")
    finally:
        logging.disable(logging.NOTSET)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


_COLLECTED: ContextVar[list[Any] | None] = ContextVar("collected", default=None)


@contextmanager
def collecting() -> Iterator[list[Any]]:
    """Keeps the results of every suite that runs meanwhile in the list, for ``data_docs``."""
    results: list[Any] = []
    token = _COLLECTED.set(results)
    try:
        yield results
    finally:
        _COLLECTED.reset(token)


def run_suite(
    connection: duckdb.DuckDBPyConnection, name: str, query: str, suite: Sequence[Expected]
) -> tuple[Check, ...]:
    """Validates the rows of a query; an expectation that cannot be evaluated has failed.

    Args:
        connection: the warehouse.
        name: of the suite.
        query: SQL of the rows.
        suite: the expectations.

    Returns:
        The checks, in the order of the suite.

    """
    return tuple(judged.check for judged in _run(connection, name, query, suite, {"result_format": "BASIC"}))


def run_suite_by_row(
    connection: duckdb.DuckDBPyConnection, name: str, query: str, suite: Sequence[Expected], key: str
) -> tuple[Judged, ...]:
    """As ``run_suite``, and says which rows broke each expectation.

    Args:
        connection: the warehouse.
        name: of the suite.
        query: SQL of the rows.
        suite: expectations that look at each row.
        key: column that identifies a row.

    """
    # Even a complete result names no more rows than this of a table in SQL.
    every = {"partial_unexpected_count": _EVERY_ROW}
    result_format = {"result_format": "COMPLETE", "unexpected_index_column_names": [key]} | every
    return tuple(_run(connection, name, query, suite, result_format, key))


def _run(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    query: str,
    suite: Sequence[Expected],
    result_format: dict[str, Any],
    key: str = "",
) -> list[Judged]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = _validate(connection, name, query, suite, result_format)
    if (collected := _COLLECTED.get()) is not None:
        collected.append(outcome)
    by_name = {result.expectation_config.meta["name"]: result for result in outcome.results}
    return [_judged(expected, by_name[expected.name], key) for expected in suite]


def _validate(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    query: str,
    suite: Sequence[Expected],
    result_format: dict[str, Any],
) -> Any:
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    source = context().data_sources.add_or_update_sql(
        name,
        connection_string="duckdb:///:memory:",
        kwargs={"creator": lambda: _BorrowedConnection(connection), "poolclass": StaticPool},
        create_temp_table=False,
    )
    batch = source.add_query_asset(name, query).add_batch_definition_whole_table("all").get_batch()
    configured = ExpectationSuite(
        name,
        expectations=[
            ExpectationConfiguration(
                expected.type, expected.kwargs, meta={"name": expected.name}, severity=expected.severity
            ).to_domain_obj()
            for expected in suite
        ],
    )
    return batch.validate(configured, result_format={"partial_unexpected_count": 3, **result_format})


def _judged(expected: Expected, result: Any, key: str) -> Judged:
    check = Check(
        name=expected.name,
        passed=bool(result.success),
        severity=expected.severity,
        expected=expected.expected or _in_words(expected.kwargs),
        observed=_observed(result),
    )
    facts = result.result or {}
    rows = facts.get("unexpected_index_list") or [] if key else []
    if key and len(rows) < facts.get("unexpected_count", 0):
        raise RuntimeError(f"{expected.name}: {facts['unexpected_count']} rows broke it, and {len(rows)} are named.")
    return Judged(check, tuple(sorted(row[key] for row in rows)))


def _in_words(kwargs: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in kwargs.items())


def _observed(result: Any) -> str:
    if result.exception_info and result.exception_info.get("raised_exception", False):
        return f"could not be evaluated: {str(result.exception_info.get('exception_message'))[:200]}"
    facts = result.result or {}
    if not facts and not result.success:
        return "could not be evaluated"
    if "observed_value" in facts:
        value = facts["observed_value"]
        if result.expectation_config.type == "unexpected_rows_expectation":
            return f"{value} rows otherwise"
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    examples = facts.get("partial_unexpected_list") or []
    shown = f", such as {', '.join(map(repr, examples[:3]))}" if examples else ""
    return f"{facts.get('unexpected_count', 0)} of {facts.get('element_count', 0)} rows otherwise{shown}"
