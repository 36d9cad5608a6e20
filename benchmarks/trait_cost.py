"""What deciding the traits costs, as ratios to reading the features that they are decided from.

    python -m benchmarks.trait_cost --users 1000000

A simulation is refreshed and replayed at its last day. Its feature and state rows are multiplied until there are as
many users as asked for, every copy with its own ids. Then each trait is decided for all of them, and a scan reads every
value of the tables that the trait reads. Both are timed warm, in one process, on the same tables: the best of three.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.traits import prepared
from orchestration.measurement.replay import ANY_CLOCK, Replay, last_date
from orchestration.simulator.parameters import Parameters

# Columns that get an id of their own in every copy.
IDS = ("user_id", "account_id", "entity_id")
READ = re.compile(r'"replay_(features|state|candidates)"\."(\w+)"')
BEST_OF = 3


class TraitCost(NamedTuple):
    """Rows of a trait, and seconds to decide them and to scan the tables that it reads."""

    trait: str
    rows: int
    deciding: float
    scanning: float


def multiply(connection: duckdb.DuckDBPyConnection, copies: int) -> None:
    """Copies every row about an entity so many times; rows about the whole population stay as they are."""
    tables = connection.execute(
        "select table_schema, table_name from information_schema.tables"
        " where table_schema in ('replay_features', 'replay_state') and table_type = 'BASE TABLE'"
    ).fetchall()
    for schema, table in tables:
        columns = [name for (name, *_) in connection.execute(f'describe "{schema}"."{table}"').fetchall()]
        ids = [name for name in columns if name in IDS]
        if ids:
            replaced = ", ".join(
                f"case when copy = 0 then {name} else {name} || '~' || copy end as {name}" for name in ids
            )
            connection.execute(
                f'create table "{schema}".multiplied as'
                f' select t.* replace ({replaced}) from "{schema}"."{table}" as t, range({copies}) as c(copy)'
            )
            connection.execute(f'drop table "{schema}"."{table}"')
            connection.execute(f'alter table "{schema}".multiplied rename to "{table}"')


def seconds(connection: duckdb.DuckDBPyConnection, statement: str) -> float:
    """The best of three runs."""
    taken = []
    for _ in range(BEST_OF):
        began = time.perf_counter()
        connection.execute(statement).fetchall()
        taken.append(time.perf_counter() - began)
    return min(taken)


def scan_of(connection: duckdb.DuckDBPyConnection, relations: Sequence[tuple[str, str]]) -> str:
    """A query that reads every value of the relations."""
    scans = []
    for schema, name in relations:
        columns = connection.execute(f'describe "replay_{schema}"."{name}"').fetchall()
        sums = [
            f'sum(strlen("{column}"))' if kind == "VARCHAR" else f'count("{column}"), min("{column}"), max("{column}")'
            for column, kind, *_ in columns
        ]
        scans.append(f'(select hash({", ".join(sums)}) from "replay_{schema}"."{name}")')
    return f"select {', '.join(scans)}"


def main() -> None:
    """Print a line for each trait, and one for all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=150, help="accounts of the simulation that is multiplied")
    given = parser.parse_args()
    console = Console(width=120)
    table = Table(box=None, header_style="bold")
    for title in ("trait", "rows", "seconds", "scan of what it reads", "ratio"):
        table.add_column(title, justify="left" if title == "trait" else "right")
    with tempfile.TemporaryDirectory() as folder, console.status("Simulating, loading, refreshing"):
        parameters = Parameters(accounts=given.accounts, seed=1)
        home, project = prepared(parameters, Path(folder))
        clock = datetime(parameters.end.year, parameters.end.month, parameters.end.day)
        with home.lock("benchmark"):
            replay = Replay(project)
            with home.connect() as connection, replay.over(connection, [clock]) as clocks:
                next(clocks)
                (users,) = connection.execute("select count(*) from replay_features.user_features").fetchone() or (1,)
                multiply(connection, -(-given.users // users))
                costs = measured(connection, replay, clock)
    deciding = sum(cost.deciding for cost in costs)
    scanning = sum(cost.scanning for cost in costs)
    for cost in costs:
        ratio = f"{cost.deciding / cost.scanning:.1f}"
        table.add_row(cost.trait, f"{cost.rows:,}", f"{cost.deciding:.2f}", f"{cost.scanning:.2f}", ratio)
    table.add_row("all", "", f"{deciding:.2f}", f"{scanning:.2f}", f"{deciding / scanning:.1f}")
    console.print(table)


def measured(connection: duckdb.DuckDBPyConnection, replay: Replay, clock: datetime) -> list[TraitCost]:
    """What each trait costs."""
    date = str(last_date(clock, replay.project.time_zone))
    statements = {}
    for statement in replay.statements:
        ready = statement.replace(str(ANY_CLOCK), str(clock)).replace(replay.any_date, date)
        made = READ.search(ready)
        if made and made.group(1) == "candidates":
            statements[made.group(2)] = ready
    costs = []
    for trait, statement in track(statements.items(), description="Deciding"):
        took = seconds(connection, statement)
        reads = sorted({found for found in READ.findall(statement) if found[1] != trait})
        (rows,) = connection.execute(f'select count(*) from replay_candidates."{trait}"').fetchone() or (0,)
        costs.append(TraitCost(trait, rows, took, seconds(connection, scan_of(connection, reads))))
    return costs


if __name__ == "__main__":
    main()
