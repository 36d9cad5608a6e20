"""What is delivered comes back among the events, day after day: are all traits what they are without that?

    python -m tests.story.loop --days 30

Two homes get the same simulated world, half of it in the raw contract, half in Segment's warehouse layout. Of the one,
users and accounts are delivered to a stand-in of Segment after each refresh, and all that the stand-in got is loaded on
the next day, in both layouts and under the sources of the world itself. Ends with 1 if anything published differs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from orchestration.declarations.syncs import Sync
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.reconciliation import Reconciled, enabled_sources, reconcile
from orchestration.simulator.make import make_simulation
from orchestration.simulator.parameters import SOURCE, Parameters
from orchestration.sync.engine import run_sync
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.cache import copy_project
from tests.orchestration.destinations.standins.segment import SegmentStandIn
from tests.segment_layout import Row, segment_tables, write_tables

END = date(2024, 6, 30)
CALLS = {"Page Viewed": "page", "User Identified": "identify", "Account Identified": "group"}
# What is published, apart from the names of builds; and what the source checks found.
COMPARED = (
    "select * exclude (build_id) from traits.trait_values order by all",
    "select * exclude (build_id) from traits.trait_changes order by all",
    "select * exclude (build_id) from traits.trait_thresholds order by all",
    "select source, event_name, event_count from events.unmapped_events order by all",
    "select source, day, hour, events, users, identified, is_anonymous from state.source_hours order by all",
    "select entity_type, entity_id, attribute, value, valid_from, valid_to from identity.attributes order by all",
)


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        days: how many refreshes there were.
        returned: messages that were loaded again, once in each layout.
        values: published values at the end.
        changes: rows of the ledger at the end.
        differing: where the homes differ, with an example; empty where they do not.
        lost: rows of the home with the loop that are nowhere.
        placed: where its rows are.

    """

    days: int = 0
    returned: int = 0
    values: int = 0
    changes: int = 0
    differing: list[str] = field(default_factory=list)
    lost: int = 0
    placed: list[Reconciled] = field(default_factory=list)


def both_layouts(folder: Path) -> Path:
    """A copy of the project that reads both layouts, with the simulator's meanings in either."""
    project = copy_project(folder)
    settings = project / "dbt_project.yml"
    settings.write_text(settings.read_text().replace("  sources: generic ", '  sources: "generic,segment" '))
    catalog = project / "seeds" / "event_catalog.csv"
    rows = [line for line in catalog.read_text().splitlines() if line.startswith(f"{SOURCE},")]
    with catalog.open("a") as file:
        for row in rows:
            for name, call in CALLS.items():
                row = row.replace(f",{name},", f",{call},")
            file.write(row.replace(f"{SOURCE},", "segment,", 1) + "\n")
    return project


def world(folder: Path, accounts: int, seed: int) -> list[Row]:
    """Events of a small world until the end of June."""
    make_simulation(Parameters(accounts=accounts, days=90, seed=seed, end=END), folder)
    with gzip.open(folder / "events.ndjson.gz", "rt") as file:
        return [json.loads(line) for line in file]


def as_events(messages: Sequence[dict[str, Any]], received: datetime) -> Iterator[tuple[Row, Row]]:
    """Each message as an event of the raw contract, and as what a warehouse makes columns of."""
    for message in messages:
        kind, library = message["type"], message["context"]["library"]
        event = {
            "event_id": message["messageId"],
            "event_type": kind,
            "event_name": message.get("event", kind),
            "occurred_at": message["timestamp"],
            "received_at": f"{received.isoformat()}Z",
            "user_id": message.get("userId"),
            "anonymous_id": message.get("anonymousId"),
            "account_id": message.get("groupId") or message["context"].get("groupId"),
            "properties": message.get("traits") or message.get("properties"),
        }
        columns = {f"library_{name}": value for name, value in library.items()}
        yield event | {"context": message["context"]}, event | {"context": columns}


def load_day(home: Home, folder: Path, generic: Sequence[Row], segment: Sequence[Row]) -> None:
    """Loads events in both layouts."""
    folder.mkdir(parents=True)
    if generic:
        path = folder / "events.ndjson"
        path.write_text("".join(json.dumps(event) + "\n" for event in generic))
        load(home, [path], source=SOURCE)
    for table, file in sorted(write_tables(folder / "tables", segment_tables(segment)).items()):
        load(home, [file], source="segment", table=table)


def run(folder: Path, days: int, *, accounts: int = 12, seed: int = 5) -> Outcome:
    """Refreshes both homes on so many days, and compares them after each."""
    project = Project(Home(Settings(home=folder / "parsed", project=both_layouts(folder / "project"))))
    _ = project.catalog
    events = world(folder / "world", accounts, seed)
    homes = {
        name: Home(Settings(home=folder / name, project=project.folder, env="production")) for name in ("plain", "loop")
    }
    syncs = [
        Sync.model_validate(
            {"name": entity, "description": "The loop.", "destination": "segment", "traits": "all", "entity": entity}
        )
        for entity in ("user", "account")
    ]
    projects = {name: project.replace(home) for name, home in homes.items()}
    outcome = Outcome(days=days)
    with ExitStack() as stack:
        standin = SegmentStandIn()
        stack.enter_context(standin.running(folder))
        before = dict(os.environ)
        stack.callback(os.environ.update, before)
        os.environ.update(standin.environment())
        options = standin.declaration()["options"] | {"timeout_seconds": 30.0}
        syncs = [sync.model_copy(update={"options": options}) for sync in syncs]
        loaded, sent = "", 0
        for number in range(days):
            until = datetime.combine(END - timedelta(days=days - 1 - number), datetime.min.time())
            clock = f"{until.isoformat()}Z"
            today = [event for event in events if loaded <= event["occurred_at"] < clock]
            halves = [[event for event in today if _is_first_half(event) is first] for first in (True, False)]
            messages = list(standin.messages.values())[sent:]
            sent += len(messages)
            returned = list(as_events(messages, until - timedelta(hours=6)))
            for name, home in homes.items():
                back = returned if name == "loop" else []
                load_day(
                    home,
                    folder / f"{name}_{number}",
                    halves[0] + [event for event, _ in back],
                    halves[1] + [event for _, event in back],
                )
                publish_day(projects[name])
            loaded = clock
            outcome.returned += len(returned)
            outcome.differing += [f"day {number}: {words}" for words in differences(homes["plain"], homes["loop"])]
            for sync in syncs:
                report = run_sync(homes["loop"], project.catalog, sync, force=True)
                assert not report.error and not report.failed, report
    with homes["loop"].connect() as connection:
        outcome.placed = reconcile(connection, enabled_sources(project))
        outcome.values = _count(connection, "traits.trait_values")
        outcome.changes = _count(connection, "traits.trait_changes")
    outcome.lost = sum(abs(table.lost) for table in outcome.placed)
    return outcome


def differences(first: Home, second: Home) -> list[str]:
    """What is not the same in two homes, one line a query."""
    found = []
    for query in COMPARED:
        rows = []
        for home in (first, second):
            with home.connect() as connection:
                rows.append({str(row) for row in connection.execute(query).fetchall()})
        if other := rows[0] ^ rows[1]:
            found.append(f"{query}: {len(other)} rows, such as {min(other)}")
    return found


def _is_first_half(event: Row) -> bool:
    """Whether an event comes in the raw contract: all events of a company and of its people and devices do, or none."""
    who = event.get("account_id") or event.get("user_id") or event.get("anonymous_id")
    return sum(str(who).encode()) % 2 == 0


def _count(connection: Any, table: str) -> int:
    return int(connection.execute(f"select count(*) from {table}").fetchone()[0])


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Refreshes of a world to which deliveries come back.")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--accounts", type=int, default=12)
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), asked.days, accounts=asked.accounts)
    for table in outcome.placed:
        print(table)
    for words in outcome.differing[:10]:
        print(words)
    print(
        f"{outcome.days} days, {outcome.returned:,} messages came back in both layouts, {outcome.values:,} values and"
        f" {outcome.changes:,} changes, {len(outcome.differing)} differences, {outcome.lost} rows lost,"
        f" {time.monotonic() - started:.0f} s"
    )
    return 1 if outcome.differing or outcome.lost else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
