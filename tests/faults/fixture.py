"""Homes of one small synthetic product, made once and copied, into which faults are injected; and what is compared.

``published`` has its events up to the end of DAY published. ``written`` has those of the next day, too: landed, built
and judged, and not yet published. ``undisturbed`` is what readers find once that is published.
"""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.refresh import write_and_audit
from orchestration.publishing.publish import publish
from orchestration.simulator.make import make_simulation
from orchestration.simulator.parameters import SOURCE, Parameters
from orchestration.simulator.write import EVENTS
from orchestration.transform.dbt import Project
from tests.cache import cached, copied, parsed_project

DAY, NEXT_DAY = "2024-06-26", "2024-06-27"
PARAMETERS = Parameters(accounts=60, days=100, seed=1)
# Enough for the gate to know what is usual.
DAYS_OF_HISTORY = 8
SECOND, ROWS = "second.ndjson", "rows.pickle"

Row = tuple[Any, ...]
Rows = dict[str, list[Row]]


@dataclass(frozen=True)
class Fixture:
    """Homes to copy, never to touch.

    Attributes:
        folder: holds all of it.
        project: parsed once.
        published: home in which DAY is published.
        written: home in which NEXT_DAY is judged and not published.
        next_day: events received on NEXT_DAY, one a line.
        before: trait -> rows that readers find in ``published``.
        undisturbed: trait -> rows that readers find after ``written`` is published as it is.
        passed: traits that pass on both days.

    """

    folder: Path
    project: Project
    published: Path
    written: Path
    next_day: Path
    before: Rows
    undisturbed: Rows
    passed: frozenset[str]

    def copy(self, home: Path, to: Path) -> Home:
        """A copy of a home, for one fault."""
        return copied(home, to)

    def project_of(self, home: Home) -> Project:
        """The parsed project in another home."""
        return self.project.replace(home)


def cached_fixture() -> Fixture:
    """The homes, made once for these contents of the project."""
    folder = cached("faults", make_fixture)
    rows, passed = pickle.loads((folder / ROWS).read_bytes())
    homes = {name: folder / name for name in ("published", "written")}
    return Fixture(folder, parsed_project(), next_day=folder / SECOND, passed=passed, **homes, **rows)


def make_fixture(folder: Path) -> None:
    """Makes the homes: two refreshes, less than a minute."""
    project = parsed_project()
    first, second = split_events(folder, PARAMETERS)
    home = Home(Settings(home=folder / "published"))
    load(home, [first], source=SOURCE)
    write_and_audit(project.replace(home), as_of=DAY)
    publish(project.replace(home))
    _add_history(home)
    before = served_rows(home)
    written = Home(Settings(home=folder / "written"))
    shutil.copytree(home.root, written.root, symlinks=True)
    load(written, [second], source=SOURCE)
    write_and_audit(project.replace(written), as_of=NEXT_DAY)
    twin = Home(Settings(home=folder / "twin"))
    shutil.copytree(written.root, twin.root, symlinks=True)
    report = publish(project.replace(twin))
    passed = frozenset(trait.trait for trait in report.traits if trait.verdict == "passed") & frozenset(before)
    rows = {"before": before, "undisturbed": served_rows(twin)}
    (folder / ROWS).write_bytes(pickle.dumps((rows, passed)))
    shutil.rmtree(twin.root)


def split_events(folder: Path, parameters: Parameters) -> tuple[Path, Path]:
    """Files of the events received by the end of DAY, and of those received on NEXT_DAY."""
    make_simulation(parameters, folder / "simulation")
    with gzip.open(folder / "simulation" / EVENTS, "rt", encoding="utf-8") as lines:
        events = [(json.loads(line)["received_at"][:10], line) for line in lines]
    first, second = folder / "first.ndjson", folder / SECOND
    first.write_text("".join(line for day, line in events if day <= DAY), encoding="utf-8")
    second.write_text("".join(line for day, line in events if DAY < day <= NEXT_DAY), encoding="utf-8")
    return first, second


def _add_history(home: Home) -> None:
    """As if days before had been published alike, so that a gate that learns from them has learnt.

    On each of them one entity in fifty changes its mind for a moment, as some do every day.
    """
    with home.connect() as connection:
        for days in range(1, DAYS_OF_HISTORY + 1):
            for table, instants in (
                ("traits.builds", ("as_of", "started_at", "published_at")),
                ("traits.gate_verdicts", ("as_of", "decided_at")),
            ):
                earlier = ", ".join(f"{name} - interval {days} day as {name}" for name in instants)
                connection.execute(
                    f"""
                    insert into {table}
                    select * replace ({earlier}, '000000-' || strftime(as_of - interval {days} day, '%Y%m%dT%H%M%SZ')
                        as build_id)
                    from {table} where build_id like '000001-%'
                    """
                )
            connection.execute(
                f"""
                insert into traits.trait_changes by name
                select
                    -{days * 2} + way as seq, entity_type, entity_id, trait,
                    case way when 0 then value else 'otherwise' end as old_value,
                    case way when 0 then 'otherwise' else value end as new_value,
                    as_of - interval {days} day as as_of, 'behaviour' as cause,
                    '000000-' || strftime(as_of - interval {days} day, '%Y%m%dT%H%M%SZ') as build_id
                from traits.trait_values, (values (0), (1)) as ways (way)
                where hash(entity_id || '{days}') % 50 = 0
                """
            )


def served_rows(home: Home) -> Rows:
    """Trait -> its published rows, as a reader finds them now."""
    path = (home.serving / "current" / "traithouse.duckdb").resolve()
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute("select * from traits.trait_values order by all").fetchall()
    rows: Rows = {}
    for row in found:
        rows.setdefault(row[2], []).append(row)
    return rows


def differing(found: Rows, expected: Rows) -> dict[str, int]:
    """Trait -> rows that only one side has."""
    names = found.keys() | expected.keys()
    counts = {name: len(set(found.get(name, [])) ^ set(expected.get(name, []))) for name in names}
    return {name: count for name, count in sorted(counts.items()) if count}


def contradictions(home: Home) -> list[str]:
    """What one served snapshot says in two places and not alike; empty when it is of one piece."""
    folder = (home.serving / "current").resolve()
    manifest = json.loads((folder / "manifest.json").read_text())
    wrong = []
    with duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True) as connection:
        (newest,) = connection.execute("select max(build_id) from traits.builds").fetchone() or (None,)
        if newest != manifest["build_id"]:
            wrong.append(f"manifest of {manifest['build_id']}, tables of {newest}")
        for table, count in manifest["rows"].items():
            (in_table,) = connection.execute(f"select count(*) from traits.{table}").fetchone() or (None,)
            in_file = duckdb.execute(f"select count(*) from '{folder / table}/*.parquet'").fetchone()
            if (in_table, in_file) != (count, (count,)):
                wrong.append(f"{table}: {count} in the manifest, {in_table} in the database, {in_file} in Parquet")
        ledger = connection.execute(
            """
            with replayed as (
                select entity_type, entity_id, trait, arg_max(coalesce(new_value, ''), (as_of, seq)) as value
                from traits.trait_changes group by all
            )
            select count(*) from (from replayed where value != '') as replayed
            full join traits.trait_values as v using (entity_type, entity_id, trait)
            where replayed.value is distinct from v.value
            """
        ).fetchone()
        if ledger != (0,):
            wrong.append(f"{ledger} values are not what the ledger adds up to")
    return wrong


def table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """Lines as a Markdown table, aligned."""
    text = [[str(cell) for cell in line] for line in (head, *lines)]
    widths = [max(len(line[column]) for line in text) for column in range(len(head))]
    drawn = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in text
    ]
    return "\n".join([drawn[0], "| " + " | ".join("-" * width for width in widths) + " |", *drawn[1:]])
