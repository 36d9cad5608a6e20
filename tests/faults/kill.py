"""Kills loads, refreshes and publishes with SIGKILL, and looks at what readers find and where the next run arrives.

    python -m tests.faults.kill            # each step of a publish, many of the rest, random times: over 200
    python -m tests.faults.kill --runs 10  # ten

A step is a statement that goes to the warehouse, a file of the home that is renamed, linked, made or removed, or a
message of progress (each dbt node tells when it ends). After each kill another process reads the snapshot: it has to be
the old one or the new one, in all its tables. Then the same work is done again, undisturbed, and every table of the
warehouse has to hold the rows of a home that was never killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from orchestration.home import PROJECT_ROOT, Home, Notify, Settings
from orchestration.landing.load import load
from orchestration.pipeline.refresh import refresh, write_and_audit
from orchestration.publishing.publish import publish
from orchestration.simulator.parameters import SOURCE
from orchestration.transform.dbt import Project
from tests.children import in_child, kill_at_call, kill_child, start_child
from tests.faults.fixture import NEXT_DAY, Fixture, cached_fixture, contradictions, table
from tests.streams.harness import OF_THE_RUN

# What tells of a run and not of its result.
OF_THE_CLOCK = ("build_id", "started_at", "published_at", "decided_at", "seconds", "loaded_at")
FILE_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.link", "shutil.rmtree"}
LOADED_AT = datetime(2024, 6, 28)

Work = Callable[[Home, Project, Notify], object]


@dataclass(frozen=True)
class Stage:
    """Work that is killed.

    Attributes:
        name: what it is.
        base: home that it begins in.
        work: what is killed.
        again: what is run afterwards, undisturbed.
        command: the same on the command line; killed at random times only.

    """

    name: str
    base: Path
    work: Work
    again: Work
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kill:
    """What came of one kill.

    Attributes:
        stage: what was killed.
        where: at which step or after how many seconds.
        served: old, new, unreadable, or what is mixed in it.
        differing: tables whose rows are not those of a home that was never killed.

    """

    stage: str
    where: str
    served: str
    differing: tuple[str, ...]


def stages(fixture: Fixture, folder: Path) -> list[Stage]:
    """Load, write and audit, publish, and the whole refresh."""
    landed = fixture.copy(fixture.published, folder / "landed")

    def land(home: Home, _: Project, notify: Notify) -> None:
        load(home, [fixture.next_day], source=SOURCE, now=LOADED_AT, notify=notify)

    def write(home: Home, project: Project, notify: Notify) -> None:
        write_and_audit(project, as_of=NEXT_DAY, notify=notify)

    def write_and_publish(home: Home, project: Project, notify: Notify) -> None:
        write(home, project, notify)
        publish(project, notify=notify)

    def out(home: Home, project: Project, notify: Notify) -> None:
        publish(project, notify=notify)

    def whole(home: Home, project: Project, notify: Notify) -> None:
        refresh(project, as_of=NEXT_DAY, notify=notify)

    assert in_child(lambda: land(landed, fixture.project, lambda _: None)) == 0
    command = ("refresh", "--as-of", NEXT_DAY)
    return [
        Stage("load", fixture.published, land, land),
        Stage("write, audit", landed.root, write, write_and_publish),
        Stage("publish", fixture.written, out, out),
        Stage("refresh", landed.root, whole, whole, command),
    ]


class _Watched:
    """A connection that counts what it is asked."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, step: Notify) -> None:
        self._connection, self._step = connection, step

    def execute(self, statement: str, *given: Any) -> Any:
        self._step(" ".join(statement.split())[:60])
        return self._connection.execute(statement, *given)

    def executemany(self, statement: str, *given: Any) -> Any:
        self._step(" ".join(statement.split())[:60])
        return self._connection.executemany(statement, *given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def stepwise(home: Home, project: Project, work: Work, step: Notify) -> None:
    """Does work and tells before each step; only in a child, whose Python is changed for it."""
    connect, root = Home.connect, str(home.root)

    @contextmanager
    def watched(self: Home) -> Iterator[Any]:
        with connect(self) as connection:
            yield _Watched(connection, step)

    def changes(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FILE_CHANGES and any(str(argument).startswith(root) for argument in arguments):
            step(event)

    Home.connect = watched  # type: ignore[assignment]
    sys.addaudithook(changes)
    work(home, project, step)


def killed_at(home: Home, project: Project, work: Work, number: int) -> None:
    """Work that kills itself at a step."""
    stepwise(home, project, work, kill_at_call(number))


def steps_of(stage: Stage, fixture: Fixture, folder: Path) -> list[str]:
    """Names of all steps of a stage, in order."""
    home, names = fixture.copy(stage.base, folder / "steps"), folder / "steps.json"

    def count() -> None:
        messages: list[str] = []
        stepwise(home, fixture.project_of(home), stage.work, messages.append)
        names.write_text(json.dumps(messages))

    assert in_child(count) == 0
    shutil.rmtree(home.root)
    found: list[str] = json.loads(names.read_text())
    return found


def killed_after(start: Callable[[], int], seconds: float) -> bool:
    """Lets a process run so long and kills it; whether it was still running."""
    child = start()
    time.sleep(seconds)
    ended, _ = os.waitpid(child, os.WNOHANG)
    if ended:
        return False
    kill_child(child)
    return True


def _started(home: Home, command: Sequence[str]) -> int:
    call = [sys.executable, "-m", "orchestration", *command, "--home", str(home.root)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(call, cwd=PROJECT_ROOT, stdout=quiet, stderr=quiet).pid


def snapshot_digest(home: Home) -> dict[str, Any]:
    """Of every table that readers find, the rows; what only the clock decides is left out, the build is not."""
    folder = (home.serving / "current").resolve()
    with duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True) as connection:
        tables = json.loads((folder / "manifest.json").read_text())["rows"]
        return {name: _digest(connection, f"traits.{name}", OF_THE_CLOCK[1:]) for name in tables}


def warehouse_digest(home: Home) -> dict[str, Any]:
    """Of every table whose rows events, clock and prior state decide, the rows."""
    with home.connect() as connection:
        names = connection.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()
        tables = {name for (name,) in names if not name.startswith(("state.", "main.", "temp."))} - OF_THE_RUN
        return {name: _digest(connection, name, OF_THE_CLOCK) for name in sorted(tables)}


def _digest(connection: duckdb.DuckDBPyConnection, relation: str, without: Sequence[str]) -> list[str]:
    columns = [row[0] for row in connection.execute(f"describe {relation}").fetchall()]
    left = ", ".join(f'"{name}"' for name in columns if name not in without)
    row = connection.execute(f"select count(*), sum(hash(row({left}))) from {relation}").fetchone() or ()
    return [str(value) for value in row]


def in_another_process(work: Callable[[], Any], folder: Path) -> Any:
    """What work gives in a child, or the text of its error."""
    answer, error_file = folder / "answer.json", folder / "error"
    answer.unlink(missing_ok=True)
    status = in_child(lambda: answer.write_text(json.dumps(work())), error_file)
    return json.loads(answer.read_text()) if status == 0 else error_file.read_text()


class StageKills:
    """Kills of one stage, next to a home that is never killed."""

    def __init__(self, stage: Stage, fixture: Fixture, folder: Path) -> None:
        self.stage, self.fixture, self.folder = stage, fixture, folder
        folder.mkdir()
        base, twin = Home(Settings(home=stage.base)), fixture.copy(stage.base, folder / "twin")
        self.old = in_another_process(lambda: snapshot_digest(base), folder)
        began = time.monotonic()
        assert in_child(lambda: stage.again(twin, fixture.project_of(twin), lambda _: None), folder / "error") == 0, (
            folder / "error"
        ).read_text()
        self.seconds = time.monotonic() - began
        self.new = in_another_process(lambda: snapshot_digest(twin), folder)
        self.rows = in_another_process(lambda: warehouse_digest(twin), folder)
        self.number = 0

    def _home(self) -> Home:
        self.number += 1
        return self.fixture.copy(self.stage.base, self.folder / f"killed_{self.number}")

    def at_step(self, number: int, name: str) -> Kill | None:
        """A kill right before a step; nothing when the work took fewer steps this time."""
        home = self._home()
        status = in_child(lambda: killed_at(home, self.fixture.project_of(home), self.stage.work, number))
        if not os.WIFSIGNALED(status):
            shutil.rmtree(home.root)
            return None
        return self._aftermath(home, f"step {number}: {name}")

    def after(self, seconds: float, *, command: bool = False) -> Kill | None:
        """A kill after some time; nothing when the work was done before."""
        home = self._home()

        def work() -> object:
            return self.stage.work(home, self.fixture.project_of(home), lambda _: None)

        killed = killed_after(
            lambda: _started(home, self.stage.command) if command else start_child(work),
            seconds,
        )
        if not killed:
            shutil.rmtree(home.root)
            return None
        return self._aftermath(home, f"{seconds:.2f} s" + (" (command line)" if command else ""))

    def _aftermath(self, home: Home, where: str) -> Kill:
        def look() -> Any:
            return [snapshot_digest(home), contradictions(home)]

        seen = in_another_process(look, self.folder)
        if isinstance(seen, str):
            served = f"unreadable: {seen}"
        elif seen[1]:
            served = f"mixed: {seen[1]}"
        else:
            served = "old" if seen[0] == self.old else "new" if seen[0] == self.new else "mixed: neither old nor new"
        project = self.fixture.project_of(home)
        ended = in_another_process(lambda: self.stage.again(home, project, lambda _: None) and None, self.folder)
        rows = in_another_process(lambda: [warehouse_digest(home), contradictions(home)], self.folder)
        if isinstance(ended, str) or isinstance(rows, str):
            differing = (f"the next run failed: {ended or rows}",)
        else:
            names = sorted(self.rows.keys() | rows[0].keys())
            differing = (*(name for name in names if rows[0].get(name) != self.rows.get(name)), *rows[1])
        shutil.rmtree(home.root)
        return Kill(self.stage.name, where, served, differing)


def spread(steps: Sequence[str], count: int) -> list[int]:
    """Numbers of steps, evenly from the first to the last."""
    count = min(count, len(steps))
    return sorted({1 + round(place * (len(steps) - 1) / max(1, count - 1)) for place in range(count)})


def kill_stages(
    fixture: Fixture, folder: Path, runs: dict[str, int], at_random: dict[str, int], notify: Notify
) -> list[Kill]:
    """So many kills a stage at steps (-1: at each), and at random times."""
    kills: list[Kill] = []
    chance = random.Random(5)
    for stage in stages(fixture, folder):
        if not runs.get(stage.name) and not at_random.get(stage.name):
            continue
        here = StageKills(stage, fixture, folder / stage.name.replace(", ", "_"))
        names = steps_of(stage, fixture, here.folder) if runs.get(stage.name) else []
        wanted = len(names) if runs.get(stage.name) == -1 else runs.get(stage.name, 0)
        for number in spread(names, wanted):
            made = here.at_step(number, names[number - 1])
            if made:
                kills.append(made)
                notify(f"{stage.name}, {made.where} of {len(names)}: {made.served}, {made.differing or 'same'}")
        left, tries = at_random.get(stage.name, 0), 0
        while left and tries < 10 * at_random[stage.name]:
            tries += 1
            command = bool(stage.command) and left % 5 == 0
            # The command line starts a Python of its own first.
            seconds = chance.uniform(0.02, here.seconds) + (2 if command else 0)
            made = here.after(seconds, command=command)
            if made:
                left -= 1
                kills.append(made)
                notify(f"{stage.name}, after {made.where}: {made.served}, {made.differing or 'same'}")
        shutil.rmtree(here.folder)
    return kills


def summary(kills: Sequence[Kill]) -> str:
    """The kills by stage, as a table."""
    lines = []
    for kind in dict.fromkeys((kill.stage, "step" if kill.where.startswith("step") else "time") for kill in kills):
        mine = [kill for kill in kills if (kill.stage, "step" if kill.where.startswith("step") else "time") == kind]
        served = Counter(kill.served.split(":")[0] for kill in mine)
        lines.append(
            (
                kind[0],
                "before a step" if kind[1] == "step" else "at a random time",
                len(mine),
                served["old"],
                served["new"],
                served["unreadable"],
                served["mixed"],
                sum(bool(kill.differing) for kill in mine),
            )
        )
    columns = list(zip(*lines, strict=True))[2:] if lines else [(0,)] * 6
    lines.append(("all", "", *(sum(column) for column in columns)))
    head = ("killed", "when", "runs", "old served", "new served", "unreadable", "mixed", "rows differ afterwards")
    return table(head, lines)


def is_wrong(kill: Kill) -> bool:
    """Whether readers or the next run came to harm."""
    return kill.served not in ("old", "new") or bool(kill.differing)


def main() -> int:
    """Kills, looks, runs again, compares."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--runs", type=int, default=0, help="so many instead of all")
    given = parser.parse_args()
    runs = {"load": 25, "write, audit": 25, "publish": -1}
    at_random = {"load": 5, "publish": 25, "refresh": 15}
    if given.runs:
        share = max(1, given.runs // 5)
        runs = {"load": share, "write, audit": share, "publish": max(1, given.runs - 3 * share)}
        at_random = {"publish": share}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fixture = cached_fixture()
        kills = kill_stages(fixture, folder, runs, at_random, lambda text: print(text, file=sys.stderr, flush=True))
    wrong = [kill for kill in kills if is_wrong(kill)]
    print(summary(kills))
    for kill in wrong:
        print(f"{kill.stage}, {kill.where}: {kill.served}; {', '.join(kill.differing)}")
    return 1 if wrong or not kills else 0


if __name__ == "__main__":
    sys.exit(main())
