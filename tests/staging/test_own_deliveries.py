"""What Traithouse delivered is known again by each mark, at landing and by the adapters alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.declarations.own_deliveries import (
    ENTERED,
    LEFT,
    LIBRARY,
    MESSAGE_ID_PREFIX,
    SENDER,
    WEBHOOK_EVENT,
    own_delivery_sql,
)
from orchestration.home import PROJECT_ROOT, Home
from orchestration.landing.load import load
from tests.conftest import queried
from tests.staging.test_adapters import Stage, all_adapters, stage

__all__ = ("all_adapters", "stage")

AT = "2024-06-01T00:00:00Z"
OWN = f"{MESSAGE_ID_PREFIX}{'0' * 32}"
MACRO = (PROJECT_ROOT / "macros" / "own_deliveries.sql").read_text()
IN_CONTEXT = json.dumps({"library": {"name": LIBRARY, "version": "1"}})
# Source -> a row as its vendor exports it, with the one mark that is left of it.
MARKED: list[tuple[str, dict[str, Any]]] = [
    ("segment", {"id": OWN}),
    ("segment", {"context_library_name": LIBRARY}),
    ("segment", {"anonymous_id": SENDER}),
    ("segment", {"event": "trait_entered"}),
    ("segment", {"event_text": LEFT}),
    ("posthog", {"event": ENTERED, "properties": "{}"}),
    ("posthog", {"event": "$identify", "properties": json.dumps({"$insert_id": OWN})}),
    ("posthog", {"event": "$set", "properties": json.dumps({"$lib": LIBRARY})}),
    ("mixpanel", {"event": "x", "properties": json.dumps({"$insert_id": OWN})}),
    ("amplitude", {"event_type": "$identify", "library": LIBRARY}),
    ("amplitude", {"event_type": "$identify", "$insert_id": OWN}),
    ("snowplow", {"event_name": "trait_left"}),
    ("raw", {"event_id": OWN}),
    ("raw", {"event_name": WEBHOOK_EVENT}),
    ("raw", {"event_name": "x", "context": IN_CONTEXT}),
    ("raw", {"event_name": "x", "properties": json.dumps({"messageId": OWN})}),
    ("raw", {"event_name": "x", "properties": json.dumps({"context_library_name": LIBRARY})}),
]
OTHERS: list[dict[str, Any]] = [
    {"id": "1", "event": "trait", "event_text": "Trait Viewed", "context_library_name": "analytics.js"},
    {"event_name": "x", "properties": json.dumps({"name": LIBRARY, "note": f"about {OWN}"})},
    {"event_name": "entered", "user_id": LIBRARY, "context": json.dumps({"app": {"name": LIBRARY}})},
    {"event_name": "x", "properties": '{"a": "traithouse"', "context": 'no JSON "traithouse"'},
    {"unknown": OWN},
    {"event_name": None, "event_id": None, "properties": None},
]
# A row that says nothing of who sent it, by its number.
FILLED: dict[str, Callable[[int], dict[str, Any]]] = {
    "segment": lambda n: {"id": f"s{n}", "user_id": "u", "timestamp": AT, "received_at": AT, "event": "x"},
    "posthog": lambda n: {"uuid": f"p{n}", "event": "x", "distinct_id": "u", "timestamp": AT, "properties": "{}"},
    "mixpanel": lambda n: {"event": "x", "properties": json.dumps({"distinct_id": "u", "time": n, "$insert_id": "m"})},
    "amplitude": lambda n: {"uuid": f"a{n}", "event_type": "x", "event_time": AT, "user_id": "u"},
    "snowplow": lambda n: {
        "event_id": f"w{n}",
        "event": "unstruct",
        "event_name": "x",
        "user_id": "u",
        "derived_tstamp": AT,
    },
    "raw": lambda n: {"event_id": f"r{n}", "event_name": "x", "user_id": "u", "occurred_at": AT},
}


def is_own(row: dict[str, Any]) -> bool:
    columns = {name: "cast($" + str(number) + " as varchar)" for number, name in enumerate(row, 1)}
    names = [name for name in columns if f"{own_delivery_sql({name: 'x'})}" != "false"]
    sql = own_delivery_sql({name: columns[name] for name in names})
    used = [f"${number} is null" for number in range(1, len(row) + 1)]
    with duckdb.connect() as connection:
        found = connection.execute(f"select {sql}, {', '.join(used)}", list(row.values())).fetchone()
    assert found is not None
    return bool(found[0])


@pytest.mark.parametrize(("source", "row"), MARKED)
def test_each_mark_is_enough(source: str, row: dict[str, Any]) -> None:
    assert is_own(row), source


@pytest.mark.parametrize("row", OTHERS)
def test_nothing_else_is_a_delivery(row: dict[str, Any]) -> None:
    assert not is_own(row)


def test_the_macro_knows_the_same_marks() -> None:
    for mark in (MESSAGE_ID_PREFIX, f"'{LIBRARY}'", f"'{SENDER}'", f"'{WEBHOOK_EVENT}'"):
        assert mark in MACRO
    for name in (ENTERED, LEFT):
        assert f"'{name.lower().replace(' ', '')}'" in MACRO


@pytest.mark.long
@pytest.mark.parametrize("adapter", sorted({source for source, _ in MARKED}))
def test_adapters_give_the_macro_what_it_looks_at(home: Home, stage: Stage, tmp_path: Path, adapter: str) -> None:
    """Each marked row, and the same row without its mark, as they come out of the adapter."""
    source = "generic" if adapter == "raw" else adapter
    numbers = iter(range(100))
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in (row for name, row in MARKED if name == adapter):
        for given in (row, dict.fromkeys(row)):
            number = next(numbers)
            table = "identifies" if adapter == "segment" and not {"event", "event_text"} & set(row) else "events"
            table = "tracks" if adapter == "segment" and table == "events" else table
            whole = FILLED[adapter](number) | {name: value for name, value in given.items() if value is not None}
            rows.setdefault(table, []).append(whole)
    for table, found in rows.items():
        path = tmp_path / f"{table}.ndjson"
        path.write_text("".join(json.dumps(row) + "\n" for row in found))
        load(home, [path], source=adapter, table=None if adapter == "raw" else table)
    stage(home, source)
    condition = MACRO.split("{% macro is_own_delivery(events) -%}")[1].split("{%- endmacro %}")[0]
    sql = condition.replace("{{ events }}", "r")
    marked = sum(name == adapter for name, _ in MARKED)
    assert queried(home, f"select count(*), count(*) filter ({sql}) from staging.stg_{source}__events as r") == [
        (2 * marked, marked)
    ]


@pytest.mark.parametrize("table", ["", "tracks", "identifies"])
def test_a_delivery_that_came_back_moves_no_clock(home: Home, tmp_path: Path, table: str) -> None:
    path = tmp_path / "events.ndjson"
    rows = [("e1", "2024-06-01T00:00:00Z"), (OWN, "2024-06-05T00:00:00Z")]
    if table:
        events = [{"id": name, "event": "x", "user_id": "u", "timestamp": at} for name, at in rows]
    else:
        events = [{"event_id": name, "event_name": "x", "user_id": "u", "occurred_at": at} for name, at in rows]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    load(home, [path], source="segment" if table else "shop", table=table or None)
    assert queried(home, "select newest_event_at from raw.loads") == [(datetime(2024, 6, 1),)]
