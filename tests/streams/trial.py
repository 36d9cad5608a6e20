"""A trial: many random streams and all examples through one home; run alone, it tries thousands.

python -m tests.streams.trial --streams 5000
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from orchestration.home import Home, Settings
from orchestration.transform.dbt import Project
from tests.cache import parsed_project
from tests.streams.examples import example_streams
from tests.streams.generator import CLOCKS, random_stream
from tests.streams.harness import Batches, build, differing, frozen, run_increments, wrong_streams

SHRINKING_BUILDS = 120


@dataclass
class Trial:
    """What came of it.

    Attributes:
        streams: how many were tried.
        tables: compared incremental against full.
        differing: rows by table that only incremental or only full has.
        wrong: streams that differ from the oracle.
        report: the first of them, cut down to as few events as still fail.

    """

    streams: int
    tables: list[str]
    differing: dict[str, int]
    wrong: list[str]
    report: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether everything is equal."""
        return not self.differing and not self.wrong


def trial(home: Home, project: Project, *, seed: int, count: int, shrink: bool = True) -> Trial:
    """Increments, oracle, full refresh; the first failing stream is run again alone, and cut down."""
    streams: dict[str, Batches] = {**example_streams()}
    random = Random(seed)
    streams |= {prefix: random_stream(random, prefix) for prefix in (f"s{number:04d}-" for number in range(count))}
    home.prepare()
    run_increments(home, project, streams)
    wrong = wrong_streams(home, streams, project)
    tables = frozen(home)
    build(home, project, as_of=CLOCKS[-1].isoformat(), full_refresh=True)
    made = Trial(len(streams), tables, differing(home), sorted(wrong))
    if made.differing:
        made.report.append(f"seed {seed}: incremental and full differ: {made.differing}")
    if wrong:
        prefix, found = next(iter(wrong.items()))
        made.report.append(f"seed {seed}, stream {prefix}: {found}")
        if shrink:
            made.report += cut_down(project, prefix, streams[prefix])
    return made


def cut_down(project: Project, prefix: str, batches: Batches) -> list[str]:
    """The fewest events of a stream that still go wrong, as far as a bounded number of builds finds them."""
    left = SHRINKING_BUILDS
    smallest = [list(batch) for batch in batches]
    shrinking = True
    while shrinking and left > 0:
        shrinking = False
        for fewer in list(_with_one_less(smallest)):
            left -= len(CLOCKS)
            if left > 0 and _goes_wrong(project, {prefix: fewer}):
                smallest, shrinking = fewer, True
                break
    return ["cut down to:", *(f"batch {number}: {event}" for number, b in enumerate(smallest) for event in b)]


def _with_one_less(batches: list[list[dict[str, object]]]) -> Iterator[list[list[dict[str, object]]]]:
    for number, batch in enumerate(batches):
        for index in range(len(batch)):
            fewer = [list(kept) for kept in batches]
            del fewer[number][index]
            yield fewer


def _goes_wrong(project: Project, streams: Mapping[str, Batches]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        home = Home(project.home.settings.model_copy(update={"home": Path(folder)}))
        home.prepare()
        alone = project.replace(home)
        run_increments(home, alone, streams)
        return bool(wrong_streams(home, streams, alone))


def main() -> int:
    """Tries as many streams as asked, some hundreds a home, and says what differs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--at-once", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1000)
    given = parser.parse_args()
    tried, failed = 0, 0
    for number in range(-(-given.streams // given.at_once)):
        with tempfile.TemporaryDirectory() as folder:
            home = Home(Settings(home=Path(folder)))
            made = trial(home, parsed_project(home), seed=given.seed + number, count=given.at_once)
            tried += made.streams
            failed += not made.right
            rows = sum(made.differing.values())
            print(
                f"{tried:,} streams, {len(made.tables)} tables: {rows} rows differ from full refresh, "
                f"{len(made.wrong)} streams from the oracle",
                *made.report,
                sep="\n",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
