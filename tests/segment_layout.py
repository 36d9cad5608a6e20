"""Events of the raw contract, written as Segment and RudderStack write them into a warehouse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CALLS = {"page": "pages", "screen": "screens", "identify": "identifies", "group": "groups", "alias": "aliases"}
Row = dict[str, Any]


def segment_tables(events: Iterable[Row]) -> dict[str, list[Row]]:
    """Table -> its rows. A track stands in ``tracks`` without its properties, and in its event's table with them."""
    tables: dict[str, list[Row]] = {}
    for event in events:
        context = {f"context_{_snake(key)}": value for key, value in (event.get("context") or {}).items()}
        shared = {
            "id": event["event_id"],
            "user_id": event.get("user_id"),
            "anonymous_id": event.get("anonymous_id"),
            "timestamp": event["occurred_at"],
            "original_timestamp": event["occurred_at"],
            "received_at": event["received_at"],
            "context_session_id": event.get("session_id"),
            **context,
        }
        properties = event.get("properties") or {}
        if table := CALLS.get(event["event_type"]):
            account = {"group_id" if table == "groups" else "context_group_id": event.get("account_id")}
            tables.setdefault(table, []).append(shared | account | properties)
            continue
        name = _snake(event["event_name"])
        call = shared | {
            "event": name,
            "event_text": event["event_name"],
            "context_group_id": event.get("account_id"),
        }
        tables.setdefault("tracks", []).append(call)
        tables.setdefault(name, []).append(call | properties)
    return tables


def write_tables(folder: Path, tables: dict[str, list[Row]]) -> dict[str, Path]:
    """Table -> a file of its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        (folder / f"{name}.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: folder / f"{name}.ndjson" for name in tables}


def _snake(name: str) -> str:
    """The name of a table or column: Segment splits words, also in camelCase, and joins them by underscores."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()).strip("_")
