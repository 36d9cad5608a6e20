"""What both versions do: files to load, and commands at fixed clocks."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from orchestration.simulator.bundled import SAMPLE
from tests.streams.examples import example_streams
from tests.streams.generator import CLOCKS, SOURCE, random_stream

STREAMS = 500
SEED = 4000
# Beside the project's own sync: accounts, a scope that is mirrored, and one that sends only what changes from now on.
SYNCS = """version: 2
exposures:
  - name: upgrade_accounts
    type: application
    owner: {name: Data team, email: data@example.com}
    description: Every trait of accounts, as a table.
    config:
      meta:
        sync:
          destination: file
          entity: account
          traits: all
          options: {format: csv}
  - name: upgrade_scope
    type: application
    owner: {name: Data team, email: data@example.com}
    description: Users who are active today by their email; who leaves is deleted.
    config:
      meta:
        sync:
          destination: file
          identifier: email
          traits: [power_user, lifecycle_stage, stuck]
          fields:
            power_user: {field: power, cast: string, cleared: "no"}
          scope: {trait: activated}
          mode: mirror
          options: {format: parquet}
  - name: upgrade_from_now_on
    type: application
    owner: {name: Data team, email: data@example.com}
    description: Changes of users from the first run on.
    config:
      meta:
        sync:
          destination: file
          traits: [at_risk, dormant, lifecycle_stage]
          first: from_now_on
          options: {format: ndjson}
"""

Step = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """A home, from empty to the last of its steps.

    Attributes:
        name: of the scenario.
        steps: commands; ``{inputs}``, ``{home}`` and ``{kept}`` stand for folders.
        taken_over: steps that the other version goes on with in a home that the earlier version made.

    """

    name: str
    steps: list[Step]
    taken_over: list[Step] = field(default_factory=list)


def do(*arguments: str) -> Step:
    """A command; its step is named after it."""
    given = [Path(word).name for word in arguments[1:] if word[0] != "-" and " " not in word]
    return {"name": " ".join([arguments[0], *given[:1]]), "arguments": list(arguments)}


def load_events(name: str, *options: str) -> Step:
    """Loads one of the input files."""
    return do("load", f"{{inputs}}/{name}", *options)


def refresh(as_of: str) -> Step:
    """Publishes at a clock."""
    return do("refresh", "--as-of", as_of)


def write_inputs(folder: Path, simulated: Path) -> list[Scenario]:
    """Writes the files of all scenarios into a folder; ``simulated`` is the simulator's file of events."""
    folder.mkdir(parents=True, exist_ok=True)
    return [shop(folder), product(folder, simulated), streams(folder)]


def shop(folder: Path) -> Scenario:
    """The bundled sample, with a load of which most rows are refused, a waiver, a rollback and a backfill."""
    with gzip.open(SAMPLE.path, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    days = ["2024-06-25", "2024-06-27", "2024-06-28", "2024-06-29"]
    for number, part in enumerate(parts(rows, days, lambda row: row["timestamp"])):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(part)
        if number == 2:
            writer.writerows(row | {"timestamp": "soon"} for row in part * 2)
        (folder / f"shop_{number}.csv").write_text(text.getvalue())
    options = [*(word for pair in SAMPLE.mapping.items() for word in ("--map", "=".join(pair)))]
    options += ["--source", SAMPLE.source]
    last = [load_events("shop_4.csv", *options), do("refresh"), do("sync")]
    return Scenario(
        "shop",
        [
            load_events("shop_0.csv", *options),
            refresh("2024-06-24"),
            do("learn"),
            do("backfill", "--from", "2024-06-16", "--to", "2024-06-22"),
            do("sync"),
            load_events("shop_1.csv", *options),
            refresh("2024-06-26"),
            do("sync"),
            load_events("shop_2.csv", *options),
            refresh("2024-06-27"),
            do("publish", "--trait", "at_risk", "--waive|--accept", "the rows that were refused are known"),
            do("sync", "--force"),
            load_events("shop_3.csv", *options),
            refresh("2024-06-28"),
            do("sync"),
            do("rollback", "--reason", "to see that it can be undone"),
            do("sync", "--force"),
            {"name": "keep a copy", "copy_to": "{kept}"},
            *last,
        ],
        taken_over=last,
    )


def product(folder: Path, simulated: Path) -> Scenario:
    """The simulated product, as it is received."""
    with gzip.open(simulated, "rt") as file:
        events = [json.loads(line) for line in file]
    days = ["2024-06-27", "2024-06-28", "2024-06-29"]
    for number, part in enumerate(parts(events, days, lambda event: event["received_at"])):
        write_events(folder / f"product_{number}.ndjson", part)
    options = ("--source", "sandbox")
    return Scenario(
        "product",
        [
            load_events("product_0.ndjson", *options),
            refresh("2024-06-26"),
            do("learn"),
            do("backfill", "--from", "2024-06-18", "--to", "2024-06-24"),
            load_events("product_1.ndjson", *options),
            refresh("2024-06-27"),
            do("sync"),
            load_events("product_2.ndjson", *options),
            refresh("2024-06-28"),
            do("sync"),
            load_events("product_3.ndjson", *options),
            do("refresh"),
            do("sync"),
        ],
    )


def streams(folder: Path, count: int = STREAMS) -> Scenario:
    """Random streams and all examples, in one home; a batch a clock."""
    random = Random(SEED)
    made = dict(example_streams())
    made |= {prefix: random_stream(random, prefix) for prefix in (f"s{number:04d}-" for number in range(count))}
    steps = []
    for number, clock in enumerate(CLOCKS):
        name = f"streams_{number}.ndjson"
        write_events(folder / name, [event for batches in made.values() for event in batches[number]])
        steps += [load_events(name, "--source", SOURCE, "--keep-repeats"), refresh(clock.isoformat())]
    return Scenario("streams", steps)


def parts(rows: list[Any], days: list[str], when: Callable[[Any], str]) -> list[list[Any]]:
    """The rows before the first day, those from it to the second, and so on."""
    bounds = ["", *days, "9"]
    return [[row for row in rows if low <= when(row) < high] for low, high in pairwise(bounds)]


def write_events(path: Path, events: Iterable[dict[str, Any]]) -> None:
    """As newline-delimited JSON."""
    path.write_text("".join(json.dumps(event, default=str) + "\n" for event in events))
