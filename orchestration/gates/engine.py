"""Runs a Great Expectations suite over a query of the warehouse, in SQL, on the connection that we own.

Great Expectations closes the connection before it fetches, and duckdb-engine hands every cursor the same one; so
rows are fetched when a statement is executed, and closing is left to the owner.
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


@dataclass(frozen=True)
class Expected:
    """One expectation of a suite.

    Attributes:
        name: stable within the suite.
        type: Great Expectations' name of it.
        kwargs: its arguments.
        severity: critical, warning or info: what a failure does.
        expected: for a person.
        rows: SQL condition of the rows that break it; empty where it is about all of them.

    """

    name: str
    type: str
    kwargs: dict[str, Any]
    severity: str = "critical"
    expected: str = ""
    rows: str = ""


class _BufferedCursor:
    """DBAPI cursor whose rows outlive the statement."""

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
    """DBAPI connection over one that stays open."""

    def __init__(self, owned: duckdb.DuckDBPyConnection) -> None:
        self.owned = owned
        self.notices: list[str] = []

    def cursor(self) -> _BufferedCursor:
        return _BufferedCursor(self)

    def close(self) -> None:
        """The owner closes."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.owned, name)


@cache
def context() -> AbstractDataContext:
    """One ephemeral context a process: importing is slow, and each context leaves a folder behind."""
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
    """While it is open, what Great Expectations says of each suite is kept in the list, for ``data_docs``."""
    results: list[Any] = []
    token = _COLLECTED.set(results)
    try:
        yield results
    finally:
        _COLLECTED.reset(token)


def run_suite(
    connection: duckdb.DuckDBPyConnection, name: str, query: str, suite: Sequence[Expected]
) -> tuple[Check, ...]:
    """Validates the rows of a query; an expectation that cannot be evaluated has failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _run(connection, name, query, suite)


def _run(connection: duckdb.DuckDBPyConnection, name: str, query: str, suite: Sequence[Expected]) -> tuple[Check, ...]:
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
                one.type, one.kwargs, meta={"name": one.name}, severity=one.severity
            ).to_domain_obj()
            for one in suite
        ],
    )
    outcome = batch.validate(configured, result_format={"result_format": "BASIC", "partial_unexpected_count": 3})
    if (collected := _COLLECTED.get()) is not None:
        collected.append(outcome)
    by_name = {result.expectation_config.meta["name"]: result for result in outcome.results}
    return tuple(
        Check(
            name=one.name,
            passed=bool(by_name[one.name].success),
            severity=one.severity,
            expected=one.expected or _in_words(one.kwargs),
            observed=_observed(by_name[one.name]),
        )
        for one in suite
    )


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
