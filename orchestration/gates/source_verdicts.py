"""Source verdicts: what the source checks say of one source in one build, and which traits a failure touches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import duckdb

from orchestration.gates.verdicts import Check
from orchestration.published.rows import fetch_rows, insert_row

SOURCE_VERDICT_TABLE = """
create schema if not exists state;
create table if not exists state.source_verdicts (
    build_id varchar, source varchar, as_of timestamp, loaded_after bigint, loaded_until bigint,
    first_day date, last_day date, verdict varchar, reason varchar, checks varchar, touched varchar,
    decided_at timestamp
);
"""

# How long a verdict is kept.
KEPT = timedelta(days=91)

SourceDecision = Literal["passed", "warned", "failed"]


@dataclass(frozen=True)
class SourceVerdict:
    """The decision on one source. Grain: build x source.

    Attributes:
        build_id: the build that was judged.
        source: name under which the events were loaded.
        as_of: the build's clock, naive UTC.
        loaded_after: loads above it were judged as new.
        loaded_until: the newest load that was judged.
        first_day: first day (reporting time zone) that was compared with its past; null when none was.
        last_day: the newest complete day of the source.
        verdict: passed, warned (shown, nothing withheld) or failed.
        reason: a sentence for each check that failed, and what to do; empty when all passed.
        checks: the result of every expectation.
        touched: names of the traits that a failure withholds.
        decided_at: wall clock, naive UTC.

    """

    build_id: str
    source: str
    as_of: datetime
    loaded_after: int
    loaded_until: int
    first_day: date | None
    last_day: date
    verdict: SourceDecision
    reason: str
    checks: tuple[Check, ...]
    touched: tuple[str, ...]
    decided_at: datetime


def save_source_verdicts(
    connection: duckdb.DuckDBPyConnection, build_id: str, as_of: datetime, verdicts: Iterable[SourceVerdict]
) -> None:
    """Replaces the verdicts of a build, and deletes those that are more than three months older."""
    connection.execute(SOURCE_VERDICT_TABLE)
    connection.execute("begin")
    connection.execute("delete from state.source_verdicts where build_id = $1 or as_of < $2", [build_id, as_of - KEPT])
    for verdict in verdicts:
        insert_row(connection, "state.source_verdicts", _row(verdict))
    connection.execute("commit")


def load_source_verdicts(connection: duckdb.DuckDBPyConnection, build_id: str) -> list[SourceVerdict]:
    """Verdicts of exactly this build, by source."""
    return _read(connection, "where build_id = $build_id order by source", build_id)


def last_source_verdicts(connection: duckdb.DuckDBPyConnection, build_id: str) -> dict[str, SourceVerdict]:
    """The last verdict on each source before a build."""
    found = _read(
        connection,
        "where build_id < $build_id qualify row_number() over (partition by source order by build_id desc) = 1",
        build_id,
    )
    return {verdict.source: verdict for verdict in found}


def copy_source_verdicts(connection: duckdb.DuckDBPyConnection, build_id: str) -> None:
    """Publishes the verdicts of a build; call it within the transaction of its publish."""
    connection.execute(SOURCE_VERDICT_TABLE)
    connection.execute("delete from traits.source_verdicts where build_id = $1", [build_id])
    connection.execute(
        "insert into traits.source_verdicts by name select * from state.source_verdicts where build_id = $1", [build_id]
    )


def _row(verdict: SourceVerdict) -> dict[str, Any]:
    row = {name: getattr(verdict, name) for name in SourceVerdict.__dataclass_fields__}
    return row | {
        "checks": json.dumps([vars(check) for check in verdict.checks]),
        "touched": json.dumps(verdict.touched),
    }


def _read(connection: duckdb.DuckDBPyConnection, which: str, build_id: str) -> list[SourceVerdict]:
    connection.execute(SOURCE_VERDICT_TABLE)
    rows = fetch_rows(connection, f"select * from state.source_verdicts {which}", {"build_id": build_id})
    return [_verdict(row) for row in rows]


def _verdict(row: Mapping[str, Any]) -> SourceVerdict:
    checks = tuple(Check(**check) for check in json.loads(row["checks"]))
    return SourceVerdict(**{**row, "checks": checks, "touched": tuple(json.loads(row["touched"]))})
