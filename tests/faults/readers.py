"""Reads in several processes, in a loop, while builds are published: no error, no mixed build, no torn read.

    python -m tests.faults.readers                # a hundred publishes, four readers and two slow ones
    python -m tests.faults.readers --publishes 8

Each publish gives every row of one trait the number of its build as score, so that rows of two builds cannot be taken
for those of one. How a reader sees one build: it resolves the link ``serving/current`` once, and opens all it wants in
the folder that it got. A database may be opened through the link, too, for it is opened once. Parquet may not: engines
open a file for its footer and again for its data, and between the two the link may have moved; that kind of reader is
here to show it, and nothing is promised to it. A folder stays until as many builds as are kept have been published
after it; a file that is open stays readable even then (POSIX). A reader that finds its folder gone before it has opened
it resolves the link again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from orchestration.home import Home
from orchestration.publishing.publish import publish
from orchestration.transform.dbt import Project
from tests.builds import take_as_passed
from tests.children import in_child, start_child
from tests.faults.fixture import cached_fixture, table

MARKED = "dormant"
# Seconds between two reads: readers that never rest measure each other's waiting.
PAUSE = 0.05


@dataclass(frozen=True)
class Readings:
    """What one kind of reader met.

    Attributes:
        kind: how it read.
        reads: how often.
        builds: different builds that it saw.
        gone: times that its folder was gone before it was opened.
        problems: errors and contradictions, the first of them in words.
        milliseconds: of each read, from the link to the last row.

    """

    kind: str
    reads: int
    builds: int
    gone: int
    problems: list[str]
    milliseconds: list[float]

    def at(self, share: float) -> float:
        """The latency that this share of the reads did not exceed."""
        ordered = sorted(self.milliseconds) or [0.0]
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


FIRST_MARK = 40


def publish_marked(home: Home, project: Project, number: int) -> None:
    """The next build: its number stands in every row of one trait, and it is published."""
    with home.lock("fault injection"):
        with home.connect() as connection:
            connection.execute(
                f"update state.current_build set build_id = printf('%06d', {number}) || substr(build_id, 7)"
            )
            for name in ("node_results", "gate_verdicts"):
                connection.execute(f"update state.{name} set build_id = (select build_id from state.current_build)")
            trait = project.catalog.trait(MARKED)
            connection.execute(f"update {trait.candidate} set score = {number}")
        take_as_passed(project, [MARKED])
        report = publish(project)
        assert report.published and not report.withheld, report


def read_build(
    connection: duckdb.DuckDBPyConnection, folder: Path, read: Callable[[str], str]
) -> tuple[str, list[str]]:
    """The build that a folder holds, and what in it is of another one.

    Args:
        connection: asks the questions.
        folder: the resolved one, whose manifest counts.
        read: name of a table -> what to select from.

    """
    manifest = json.loads((folder / "manifest.json").read_text())
    build = str(manifest["build_id"])
    found = {
        "builds": connection.execute(f"select max(build_id) from {read('builds')}").fetchall(),
        "values": connection.execute(
            f"select distinct build_id, printf('%06d', cast(score as bigint)) || substr(build_id, 7)"
            f" from {read('trait_values')} where trait = '{MARKED}'"
        ).fetchall(),
        "wide": connection.execute(
            f"select distinct printf('%06d', cast({MARKED}_score as bigint)) || '{build[6:]}'"
            f" from {read('user_traits')}"
        ).fetchall(),
        "verdicts": connection.execute(
            f"select max(build_id) from {read('gate_verdicts')} where trait = '{MARKED}'"
        ).fetchall(),
        "counts": [
            (build,)
            if connection.execute(f"select count(*) from {read(name)}").fetchone() == (count,)
            else (f"{name} has not the {count} rows of the manifest",)
            for name, count in manifest["rows"].items()
        ],
    }
    wrong = [
        f"{name}: {rows}, manifest of {build}"
        for name, rows in found.items()
        if {x for r in rows for x in r} != {build}
    ]
    return build, wrong


def read_database(home: Home) -> tuple[str, list[str]]:
    """The tables of one open database."""
    folder = (home.serving / "current").resolve()
    with duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True) as connection:
        return read_build(connection, folder, lambda name: f"traits.{name}")


def read_parquet(home: Home) -> tuple[str, list[str]]:
    """The Parquet files of one folder."""
    folder = (home.serving / "current").resolve()
    with duckdb.connect() as connection:
        return read_build(connection, folder, lambda name: f"'{folder / name}/*.parquet'")


def read_database_through_link(home: Home) -> tuple[str, list[str]]:
    """The tables of one database, opened through the link."""
    with duckdb.connect(str(home.serving / "current" / "traithouse.duckdb"), read_only=True) as connection:
        return _marked(connection, "traits.trait_values")


def read_parquet_through_link(home: Home) -> tuple[str, list[str]]:
    """One folder of Parquet through the link."""
    with duckdb.connect() as connection:
        build, wrong = _marked(connection, f"'{home.serving / 'current' / 'trait_values' / '*.parquet'}'")
    if not build:
        raise FileNotFoundError("No such file: the link moved on while the folder was listed")
    return build, wrong


def _marked(connection: duckdb.DuckDBPyConnection, relation: str) -> tuple[str, list[str]]:
    rows = connection.execute(
        "select distinct build_id, printf('%06d', cast(score as bigint)) || substr(build_id, 7)"
        f" from {relation} where trait = '{MARKED}'"
    ).fetchall()
    builds = {build for row in rows for build in row}
    return max(builds, default=""), [] if len(builds) == 1 else [f"rows of {sorted(builds)}"]


UNPROMISED = "Parquet, through the link"
KINDS: dict[str, Callable[[Home], tuple[str, list[str]]]] = {
    "DuckDB, resolved": read_database,
    "Parquet, resolved": read_parquet,
    "DuckDB, through the link": read_database_through_link,
    UNPROMISED: read_parquet_through_link,
}


def read_in_a_loop(home: Home, kind: str, stop: Path) -> Readings:
    """Reads until there is a file that says stop."""
    read, milliseconds, problems, builds, gone = KINDS[kind], [], [], set(), 0
    parent = os.getppid()
    while not stop.exists() and os.getppid() == parent:
        began = time.perf_counter()
        try:
            build, wrong = read(home)
        except (duckdb.Error, OSError) as error:
            folder = (home.serving / "current").resolve()
            if "No such file" in str(error) or "No files found" in str(error) or "does not exist" in str(error):
                gone += 1
            else:
                problems.append(f"{type(error).__name__} in {folder.name}: {' '.join(str(error).split())[:200]}")
            continue
        milliseconds.append(1000 * (time.perf_counter() - began))
        builds.add(build)
        problems += wrong
        time.sleep(PAUSE)
    return Readings(kind, len(milliseconds), len(builds), gone, problems, milliseconds)


def read_slowly(home: Home, stop: Path, kept: int) -> Readings:
    """Keeps one database open until its folder is deleted, and asks again: the answer has to be the same."""
    everything = "select count(*), sum(hash(t)) from traits.trait_values as t"
    milliseconds, problems, builds = [], [], set()
    parent = os.getppid()
    while not stop.exists() and os.getppid() == parent:
        folder = (home.serving / "current").resolve()
        began = time.perf_counter()
        with duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True) as connection:
            first = connection.execute(everything).fetchall()
            while folder.exists() and not stop.exists() and os.getppid() == parent:
                time.sleep(0.01)
            again = connection.execute(everything).fetchall()
            more = connection.execute("select count(*) from traits.trait_changes").fetchall()
        if first != again or not more:
            problems.append(f"{folder.name}: {first}, after it was deleted {again}")
        if not folder.exists():
            builds.add(folder.name)
        milliseconds.append(1000 * (time.perf_counter() - began))
    return Readings(
        f"DuckDB, open until deleted ({kept} kept)", len(milliseconds), len(builds), 0, problems, milliseconds
    )


def publish_under_readers(
    folder: Path, publishes: int, *, each: int, kept: int, notify: Callable[[str], None]
) -> list[Readings]:
    """Publishes so many builds while readers of each kind, and one that is slow, look on."""
    fixture = cached_fixture()
    home = fixture.copy(fixture.written, folder / "home")
    home = Home(home.settings.model_copy(update={"builds_kept": kept}))
    project = fixture.project_of(home)
    assert in_child(lambda: publish_marked(home, project, FIRST_MARK)) == 0
    stop, children, answers = folder / "stop", [], []
    for number, kind in enumerate([*(kind for kind in KINDS for _ in range(each)), "slow"]):
        answer = folder / f"readings_{number}.json"
        answers.append(answer)

        def work(kind: str = kind, answer: Path = answer) -> None:
            found = read_slowly(home, stop, kept) if kind == "slow" else read_in_a_loop(home, kind, stop)
            answer.write_text(json.dumps(vars(found)))

        children.append(start_child(work))
    try:
        seconds = _publish_many(home, project, publishes, folder, notify)
    finally:
        stop.touch()
        ends = [os.waitpid(child, 0)[1] for child in children]
    assert not any(ends), f"a reader died: {ends}"
    notify(f"{publishes} publishes, {seconds / publishes:.2f} s each")
    return _by_kind([Readings(**json.loads(answer.read_text())) for answer in answers])


def _publish_many(home: Home, project: Project, count: int, folder: Path, notify: Callable[[str], None]) -> float:
    began, error_file = time.monotonic(), folder / "error"
    for number in range(count):
        status = in_child(lambda number=number: publish_marked(home, project, FIRST_MARK + 1 + number), error_file)
        assert status == 0, error_file.read_text() if error_file.exists() else status
        if number % 10 == 9:
            notify(f"{number + 1} of {count} published")
    return time.monotonic() - began


def _by_kind(readings: Sequence[Readings]) -> list[Readings]:
    merged = []
    for kind in dict.fromkeys(reading.kind for reading in readings):
        mine = [reading for reading in readings if reading.kind == kind]
        merged.append(
            Readings(
                kind,
                sum(reading.reads for reading in mine),
                max(reading.builds for reading in mine),
                sum(reading.gone for reading in mine),
                [problem for reading in mine for problem in reading.problems],
                [time for reading in mine for time in reading.milliseconds],
            )
        )
    return merged


def summary(readings: Sequence[Readings]) -> str:
    """What readers met, as a table; latencies in milliseconds from the link to the last row."""
    head = ("reader", "reads", "builds seen", "folder gone", "errors, mixed or torn", "p50 ms", "p99 ms", "max ms")
    lines: list[Sequence[Any]] = [
        (
            reading.kind + (" (not promised)" if reading.kind == UNPROMISED else ""),
            reading.reads,
            reading.builds,
            reading.gone,
            len(reading.problems),
            reading.at(0.5),
            reading.at(0.99),
            reading.at(1.0),
        )
        for reading in readings
    ]
    return table(head, lines)


def main() -> int:
    """Publishes and reads, and prints what readers met."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--publishes", type=int, default=100)
    parser.add_argument("--each", type=int, default=2, help="readers of each kind")
    parser.add_argument("--kept", type=int, default=5, help="builds that are kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        readings = publish_under_readers(
            Path(name),
            given.publishes,
            each=given.each,
            kept=given.kept,
            notify=lambda text: print(text, file=sys.stderr, flush=True),
        )
    print(summary(readings))
    problems = [problem for reading in readings for problem in reading.problems if reading.kind != UNPROMISED]
    print(*problems[:10], sep="\n", end="\n" if problems else "")
    return 1 if problems or not all(reading.reads for reading in readings) else 0


if __name__ == "__main__":
    sys.exit(main())
