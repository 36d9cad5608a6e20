"""Kills a refresh at step after step, and looks whether the next one makes the same rows.

    python -m tests.streams.crash            # after every node of the graph
    python -m tests.streams.crash --every 9  # after every ninth

Each refresh runs in a forked child, which kills itself (SIGKILL) as soon as so many nodes have ended; dbt runs two at a
time, so another node is often half done.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from orchestration.home import Home, Settings
from orchestration.published.state import copy_prior_state
from orchestration.transform.build import begin_build, run_build
from orchestration.transform.dbt import Project
from tests.cache import parsed_project
from tests.children import in_child, kill_at_call
from tests.streams.examples import example_streams
from tests.streams.generator import CLOCKS, random_stream
from tests.streams.harness import Batches, build, differing, frozen, load_batch

STREAMS = 40


def killed_after(home: Home, project: Project, clock: str, nodes: int) -> None:
    """A refresh that dies as soon as so many nodes have ended."""
    made = begin_build(project, as_of=clock, full_refresh=False)
    with home.connect() as connection:
        copy_prior_state(connection, project.catalog, made.as_of)
    run_build(project, made, notify=kill_at_call(nodes))


def kill_after_nodes(folder: Path, every: int, first: int, notify: Callable[[str], None]) -> tuple[int, list[str]]:
    """Kills at each ``every``-th node from ``first`` on; returns how often, and what differed afterwards."""
    random = Random(7)
    streams: dict[str, Batches] = {**example_streams()}
    streams |= {prefix: random_stream(random, prefix) for prefix in (f"s{number:04d}-" for number in range(STREAMS))}
    whole, before = (Home(Settings(home=folder / name)) for name in ("whole", "before"))
    before.prepare()
    project = parsed_project(before)

    def at(home: Home) -> Project:
        return project.replace(home)

    first_clock, next_clock = CLOCKS[1].isoformat(), CLOCKS[2].isoformat()

    def prepare() -> None:
        load_batch(before, [event for batches in streams.values() for batch in batches[:2] for event in batch])
        build(before, at(before), as_of=first_clock)
        load_batch(before, [event for batches in streams.values() for batch in batches[2:] for event in batch])

    def undisturbed() -> None:
        build(whole, at(whole), as_of=next_clock)
        frozen(whole)

    assert in_child(prepare) == 0
    shutil.copytree(before.root, whole.root)
    assert in_child(undisturbed) == 0
    nodes = len(
        [node for node in project.manifest_dict["nodes"].values() if node["resource_type"] in ("model", "seed")]
    )
    kills, wrong = 0, []
    for number in range(first, nodes + 1, every):
        home = Home(Settings(home=folder / f"killed_{number}"))
        shutil.copytree(before.root, home.root)
        died = in_child(lambda home=home, number=number: killed_after(home, at(home), next_clock, number))
        if not os.WIFSIGNALED(died):
            wrong.append(f"node {number}: the refresh was not killed ({died})")
            continue
        kills += 1

        def again(home: Home = home) -> None:
            made = build(home, at(home), as_of=next_clock)
            assert not made.full_refresh
            found = differing(home, whole)
            assert not found, found

        if in_child(again) != 0:
            wrong.append(f"node {number}: the next refresh made other rows")
        notify(f"killed after node {number} of {nodes}: {'differs' if wrong else 'the same rows'}")
        shutil.rmtree(home.root)
    return kills, wrong


def main() -> int:
    """Kills, refreshes again, compares."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills, wrong = kill_after_nodes(Path(folder), given.every, given.first, lambda text: print(text, flush=True))
    print(f"{kills} kills, {len(wrong)} after which rows differ", *wrong, sep="\n")
    return 1 if wrong or not kills else 0


if __name__ == "__main__":
    sys.exit(main())
