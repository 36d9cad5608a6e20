"""Runs many independent streams through shared builds, and compares incremental, full refresh and oracle.

Streams live in id spaces of their own, so hundreds of them share each dbt run, and a difference still names its stream.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb

from orchestration.home import Home
from orchestration.landing.load import load
from orchestration.published.state import copy_prior_state
from orchestration.transform.build import Build, begin_build, run_build
from orchestration.transform.dbt import Project
from tests.streams.generator import CLOCKS, SOURCE, Event, as_landed
from tests.streams.oracle import COLUMNS, OracleSettings, expected

# What a run did, not what it made: these need not be equal after a full refresh.
OF_THE_RUN = {
    "events.event_arrivals",
    "events.new_activity",
    "events.unfinished_loads",
    "events.replaced_events",
    "identity.current_links",
    "identity.current_merges",
    "identity.dirty_attributes",
    "identity.new_profiles",
    "identity.node_owners",
    "identity.owner_moves",
    "identity.touched_devices",
    "identity.touched_merges",
    "sessions.account_day_changes",
    "sessions.dirty_buckets",
    "sessions.dirty_users",
    "activity.touched_account_days",
    "features.touched_user_windows",
    "features.touched_account_windows",
}
STAGES = ("events", "identity", "sessions", "activity", "features")
VIEWS = {"events.fct_events", "identity.identity_changes", "features.user_features", "features.account_features"}

Batches = Sequence[Sequence[Event]]
PREFIX = 6  # characters of an id that name its stream


def build(home: Home, project: Project, **given: Any) -> Build:
    """One build without a gate; every model has to succeed."""
    made = begin_build(project, **({"as_of": None, "full_refresh": False} | given))
    with home.connect() as connection:
        copy_prior_state(connection, project.catalog, made.as_of)
    results = run_build(project, made)
    assert [result for result in results if not result.ok] == []
    return made


def written(folder: Path, events: Sequence[Mapping[str, Any]]) -> Path:
    """The events as a file of newline-delimited JSON."""
    path = folder / f"{uuid4().hex}.ndjson"
    path.write_text("".join(json.dumps(event, default=str) + "\n" for event in events))
    return path


def load_batch(home: Home, events: Sequence[Event]) -> None:
    """Loads a batch; one without a good row is a batch too, of which nothing comes."""
    from orchestration.errors import UsageError

    if events:
        try:
            load(home, [written(home.root, events)], source=SOURCE, keep_repeats=True)
        except UsageError:
            return


def compared_tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Every table and view up to the features that a full refresh has to make equal."""
    names = connection.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()
    tables = {name for (name,) in names if name.split(".")[0] in STAGES and not name.endswith("_catalog")}
    return sorted((tables | VIEWS) - OF_THE_RUN)


def frozen(home: Home) -> list[str]:
    """Copies every compared table into schema ``kept``, and names them."""
    with home.connect() as connection:
        connection.execute("drop schema if exists kept cascade; create schema kept")
        tables = compared_tables(connection)
        for table in tables:
            connection.execute(f'create table kept."{table}" as select * from {table}')
    return tables


def differing(home: Home, keeper: Home | None = None) -> dict[str, int]:
    """Tables that differ from what ``frozen`` kept (here or in another home): rows that only one side has."""
    counts = {}
    with home.connect() as connection:
        if keeper:
            connection.execute(f"attach '{keeper.warehouse}' as keeper (read_only)")
        for table in compared_tables(connection):
            kept = f'{"keeper." if keeper else ""}kept."{table}"'
            now, before = f"select * from {table}", f"select * from {kept}"
            (count,) = connection.execute(
                f"select count(*) from (({now} except all {before}) union all ({before} except all {now}))"
            ).fetchone() or (-1,)
            if count:
                counts[table] = count
    return counts


def rows_of(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    """The rows that the oracle speaks of."""
    with home.connect() as connection:
        return {
            table: connection.execute(f"select {', '.join(columns)} from {table}").fetchall()
            for table, columns in COLUMNS.items()
        }


def oracle_settings(project: Project, **changed: Any) -> OracleSettings:
    """The project's vars, as the oracle takes them."""
    given = {name: project.variables[name] for name in OracleSettings.__dataclass_fields__} | changed
    junk = tuple(text.strip() for text in given.pop("junk_ids").split(","))
    return OracleSettings(junk_ids=junk, **given)


def catalogs(project: Project) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The event catalogue and the attribute catalogue."""
    events, attributes = (
        list(csv.DictReader((project.folder / "seeds" / f"{name}.csv").open()))
        for name in ("event_catalog", "attribute_catalog")
    )
    return events, attributes


def run_increments(
    home: Home, project: Project, streams: Mapping[str, Batches], clocks: Sequence[datetime] = CLOCKS
) -> None:
    """Loads the n-th batches of all streams together, and builds after each, at a rising clock."""
    for number, clock in enumerate(clocks):
        load_batch(home, [event for batches in streams.values() for event in batches[number]])
        made = build(home, project, as_of=clock.isoformat())
        assert made.full_refresh == (number == 0)


def wrong_streams(
    home: Home,
    streams: Mapping[str, Batches],
    project: Project,
    *,
    as_of: datetime = CLOCKS[-1],
) -> dict[str, dict[str, tuple[list[Any], list[Any]]]]:
    """Streams whose rows are not those of the oracle: table -> rows it lacks, rows it has too many."""
    found: dict[str, dict[str, list[tuple[Any, ...]]]] = defaultdict(lambda: defaultdict(list))
    settings = oracle_settings(project)
    event_catalog, attribute_catalog = catalogs(project)
    for table, rows in rows_of(home).items():
        for row in rows:
            owner = next((text[:PREFIX] for text in row if isinstance(text, str) and text[:PREFIX] in streams), "")
            found[owner][table].append(row)
    assert "" not in found, "rows of no stream"
    wrong: dict[str, dict[str, tuple[list[Any], list[Any]]]] = {}
    for prefix, batches in streams.items():
        rows_expected = expected(
            [as_landed(event) for batch in batches for event in batch],
            as_of=as_of,
            catalog=event_catalog,
            attribute_catalog=attribute_catalog,
            settings=settings,
        )
        for table in COLUMNS:
            lacking, extra = difference(rows_expected.get(table, []), found[prefix].get(table, []))
            if lacking or extra:
                wrong.setdefault(prefix, {})[table] = (lacking, extra)
    return wrong


def difference(first: Sequence[Any], second: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Rows that only one of two bags has."""
    left = list(second)
    lacking = []
    for row in first:
        if row in left:
            left.remove(row)
        else:
            lacking.append(row)
    return lacking, left
