"""A trial: many random streams and all examples through one home; run alone, it tries thousands.

python -m tests.streams.trial --streams 5000
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from orchestration.home import Home, Settings
from orchestration.transform.dbt import Project
from tests.cache import copy_project, parsed_project
from tests.streams.examples import example_streams
from tests.streams.generator import CLOCKS, random_stream
from tests.streams.harness import Batches, build, differing, frozen, run_increments, wrong_streams

SHRINKING_BUILDS = 120
OTHER_VARS = {
    "session_ids": "native",
    "reporting_time_zone": "America/New_York",
    "shared_device_users": "2",
    "session_max_minutes": "120",
}


@dataclass
class Trial:
    """What came of it.

    Attributes:
        streams: how many were tried.
        tables: compared incremental against full.
        differing: rows by table that only incremental or only full has.
        wrong: streams that differ from the oracle.
        busiest_day: most active seconds of a user on a day.
        report: the first of them, cut down to as few events as still fail.

    """

    streams: int
    tables: list[str]
    differing: dict[str, int]
    wrong: list[str]
    busiest_day: int
    report: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether everything is equal."""
        return not self.differing and not self.wrong and self.busiest_day <= 86_400


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
    with home.connect() as connection:
        row = connection.execute("select max(active_seconds) from activity.fct_user_activity_daily").fetchone()
    made = Trial(len(streams), tables, differing(home), sorted(wrong), int(row[0]) if row else 0)
    if made.differing:
        made.report.append(f"seed {seed}: incremental and full differ: {made.differing}")
    if wrong:
        prefix, found = next(iter(wrong.items()))
        made.report.append(f"seed {seed}, stream {prefix}: {found}")
        if shrink:
            made.report += cut_down(project, prefix, streams[prefix])
    return made


def other_settings(project: Path) -> None:
    """Gives a copy of the project native session ids, another time zone, few users a device and short sessions.

    The shop knows neither trial nor cancellation; here some of its events stand for them.
    """
    edits = {"dbt_project.yml": {rf"(?m)^  {name}: \S+": f"  {name}: {value}" for name, value in OTHER_VARS.items()}}
    edits["seeds/event_catalog.csv"] = {
        rf"(?m)^(shop,{name},,,),[a-z_]+,": rf"\1,{behaviour},"
        for name, behaviour in {"search": "cancelled", "add_to_cart": "trial_started"}.items()
    }
    for name, replacements in edits.items():
        text = (project / name).read_text(encoding="utf-8")
        for pattern, replacement in replacements.items():
            text, count = re.subn(pattern, replacement, text)
            if count != 1:
                raise AssertionError(f"{name}: {pattern} stands there {count} times")
        (project / name).write_text(text, encoding="utf-8")


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
    parser.add_argument("--other-settings", action="store_true", help="native session ids, another time zone, ...")
    given = parser.parse_args()
    tried, failed = 0, 0
    for number in range(-(-given.streams // given.at_once)):
        with tempfile.TemporaryDirectory() as folder:
            home = Home(Settings(home=Path(folder) / "home"))
            project = parsed_project(home)
            if given.other_settings:
                copy = Path(folder) / "project"
                copy_project(copy)
                other_settings(copy)
                home = Home(Settings(home=Path(folder) / "home", project=copy))
                project = Project(home)
            made = trial(home, project, seed=given.seed + number, count=given.at_once)
            tried += made.streams
            failed += not made.right
            rows = sum(made.differing.values())
            print(
                f"{tried:,} streams, {len(made.tables)} tables: {rows} rows differ from full refresh, "
                f"{len(made.wrong)} streams from the oracle, at most {made.busiest_day:,} active seconds on a day",
                *made.report,
                sep="\n",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
