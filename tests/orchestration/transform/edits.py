"""Edits a project after a build, refreshes, and compares every row with those of a home that is built with the edit.

    python -m tests.orchestration.transform.edits                        # every kind of edit; writes edits.md
    python -m tests.orchestration.transform.edits --edits 2 --seed 5     # two kinds at random
    python -m tests.orchestration.transform.edits --folder /tmp/edits    # goes on where it was cut off

Both homes begin with the same loads. One was built with the project as it was; it lies where it was built, so dbt has
its partial parse, and decides itself what it does. The other is built in full, with nothing parsed. Both have the same
clock, before which nothing was published, so prior states and thresholds are the same. In half of the edits every file
keeps its time of modification.

Compared are all rows up to the features, the catalogues, all candidates, and what is served: value, score, evidence,
version and whether anonymous of every trait value, and every threshold. Left out is what the ledger keeps on purpose:
since, as_of, build_id and reason. A trait that is withheld after the edit, for much has changed at once, must serve the
rows that it served before. An edit that does not build must build in neither, and serve what was served before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import duckdb

from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.refresh import write_and_audit
from orchestration.publishing.publish import publish
from orchestration.simulator.make import make_simulation
from orchestration.simulator.parameters import SOURCE, Parameters
from orchestration.simulator.write import EVENTS
from orchestration.transform.dbt import Project
from tests.children import in_child
from tests.faults.fixture import table
from tests.orchestration.transform.edit_kinds import KINDS, edited_project
from tests.streams.harness import OF_THE_RUN, STAGES, VIEWS

TABLE = Path(__file__).with_suffix(".md")
AS_OF = "2024-07-01T12:00:00"
VALUES = "trait, entity_type, entity_id, value, score, evidence, definition_version, is_anonymous"
THRESHOLDS = "trait, threshold, arg_max(value, (as_of, build_id)), arg_max(definition_version, (as_of, build_id))"


@dataclass(frozen=True)
class EditOutcome:
    """What came of one edit.

    Attributes:
        kind: of the edit.
        what: was edited.
        times_kept: whether files kept their times of modification.
        outcome: rebuilt, kept (nothing up to the features was rebuilt), or refused.
        rows: compared.
        changed: of these, rows that the edit changes: they are others than before it.
        differing: rows that only one of the two homes has.
        withheld: traits that are withheld after the edit, and not in a home of its own.
        seconds: that the refresh took, with parsing.
        where: tables that differ, with their rows.

    """

    kind: str
    what: str
    times_kept: bool
    outcome: str
    rows: int
    changed: int
    differing: int
    withheld: int
    seconds: float
    where: dict[str, int]


class EditTrial:
    """A folder with a project, a home that it has built, and a home in which nothing is built."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project, self.home, self.fresh = folder / "project", folder / "home", folder / "fresh"

    def prepare(self) -> None:
        """Loads and builds, once for a folder."""
        made = self.folder / "made"
        if made.exists():
            return
        edited_project(self.folder / "original")
        make_simulation(Parameters(accounts=25, days=70, seed=3), self.folder / "simulation")
        load(_home(self.folder / "loaded", self.project), [self.folder / "simulation" / EVENTS], source=SOURCE)
        self._begin()
        shutil.copytree(self.folder / "loaded", self.home, symlinks=True)
        assert in_child(lambda: self._refresh(self.home), self.folder / "error") == 0, self._error()
        _freeze(self.home, self._frozen(self.folder / "built"))
        shutil.copytree(self.home, self.folder / "built", symlinks=True)
        made.touch()

    def edit(self, kind: str, random: Random) -> EditOutcome:
        """Edits, refreshes one home, builds the other, and compares."""
        self._begin()
        shutil.copytree(self.folder / "built", self.home, symlinks=True)
        shutil.copytree(self.folder / "loaded", self.fresh, symlinks=True)
        environment = dict(os.environ)
        times = {path: path.stat() for path in self.project.rglob("*") if path.is_file()}
        what = KINDS[kind](self.project, random)
        times_kept = kind != "touched" and random.random() < 0.5
        for path, stat in times.items():
            if times_kept and path.exists():
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        began = time.monotonic()
        failed = in_child(lambda: self._refresh(self.home), self.folder / "error")
        seconds = round(time.monotonic() - began, 1)
        refused = in_child(lambda: self._refresh(self.fresh), self.folder / "error")
        os.environ.clear()
        os.environ.update(environment)
        if failed or refused:
            print(f"  {self._error()}", flush=True)
            where = _served_differently(self.home, self.folder / "built", []) | (
                {} if failed and refused else {"build": 1}
            )
            outcome, withheld, rows, changed = "refused", set(), 0, 0
        else:
            for home in (self.home, self.fresh):
                _freeze(home, self._frozen(home))
            rows, where = _differing(self._frozen(self.home), self._frozen(self.fresh))
            changed = sum(_differing(self._frozen(self.folder / "built"), self._frozen(self.fresh))[1].values())
            withheld = _withheld(self.home) - _withheld(self.fresh)
            where |= _served_differently(self.home, self.fresh, sorted(_withheld(self.home) | _withheld(self.fresh)))
            before = _served_differently(self.home, self.folder / "built", [], only=sorted(withheld))
            where |= {f"withheld {name}": count for name, count in before.items()}
            outcome = "rebuilt" if _is_rebuilt(self.home) else "kept"
        return EditOutcome(
            kind, what, times_kept, outcome, rows, changed, sum(where.values()), len(withheld), seconds, where
        )

    def _begin(self) -> None:
        for folder in (self.project, self.home, self.fresh):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder / "original", self.project)

    def _refresh(self, folder: Path) -> None:
        project = Project(_home(folder, self.project))
        with project.home.lease("edit"), project.home.lock("edit"):
            written = write_and_audit(project, as_of=AS_OF)
            failed = [f"{result.name}: {result.message}" for result in written.results if not result.ok]
            if failed:
                raise RuntimeError(failed[0])
            publish(project)

    def _frozen(self, home: Path) -> Path:
        return self.folder / f"frozen-{home.name}.duckdb"

    def _error(self) -> str:
        return (self.folder / "error").read_text()[:300]


def _home(folder: Path, project: Path) -> Home:
    return Home(Settings(home=folder, project=project))


def _freeze(home: Path, file: Path) -> None:
    """Writes all rows that are compared as tables of a file; a view is read in its own warehouse only."""
    file.unlink(missing_ok=True)
    with duckdb.connect(str(home / "warehouse.duckdb")) as connection:
        found = connection.execute(
            """
            select schema_name || '.' || table_name from duckdb_tables()
            where database_name = 'warehouse' and list_contains($schemas, schema_name)
            """,
            {"schemas": [*STAGES, "candidates"]},
        ).fetchall()
        names = ({name for (name,) in found} | VIEWS) - OF_THE_RUN
        connection.execute(f"attach '{file}' as frozen")
        for name in names:
            connection.execute(f'create table frozen."{name}" as from {name}')


def _differing(ours: Path, theirs: Path) -> tuple[int, dict[str, int]]:
    """Rows compared, and tables of two files that differ with how many rows only one side has."""
    rows, where = 0, {}
    with duckdb.connect() as connection:
        for side, file in (("ours", ours), ("theirs", theirs)):
            connection.execute(f"attach '{file}' as {side} (read_only)")
        names = connection.execute("select table_name from duckdb_tables() where database_name = 'theirs'").fetchall()
        for (name,) in sorted(names):
            try:
                where[name] = _count_differing(connection, f'ours."{name}"', f'theirs."{name}"')
            except duckdb.Error:
                where[name] = 1
            rows += (connection.execute(f'select count(*) from theirs."{name}"').fetchone() or (0,))[0]
    return rows, {name: count for name, count in where.items() if count}


def _count_differing(connection: duckdb.DuckDBPyConnection, first: str, second: str) -> int:
    only_first, only_second = f"from {first} except all from {second}", f"from {second} except all from {first}"
    counted = connection.execute(f"select count(*) from (({only_first}) union all ({only_second}))").fetchone()
    assert counted
    return int(counted[0])


def _served_differently(
    home: Path, other: Path, without: list[str], *, only: list[str] | None = None
) -> dict[str, int]:
    """What two homes serve, but of these traits."""
    where = {}
    with duckdb.connect() as connection:
        for name, folder in (("ours", home), ("theirs", other)):
            served = (folder / "serving" / "current" / "traithouse.duckdb").resolve()
            connection.execute(f"attach '{served}' as {name} (read_only)")
        connection.execute("set variable without = $1", [without])
        connection.execute("set variable these = $1", [only])
        condition = """
            where not list_contains(cast(getvariable('without') as varchar[]), trait)
                and coalesce(list_contains(cast(getvariable('these') as varchar[]), trait), true)
        """
        for name, columns, grouped in (
            ("trait_values", VALUES, ""),
            ("trait_thresholds", THRESHOLDS, "group by trait, threshold"),
        ):
            sides = [
                f"(select {columns} from {side}.traits.{name} {condition} {grouped})" for side in ("ours", "theirs")
            ]
            where[f"served {name}"] = _count_differing(connection, *sides)
    return {name: count for name, count in where.items() if count}


def _withheld(home: Path) -> set[str]:
    """Traits that the last build did not publish."""
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            """
            select trait from state.gate_verdicts
            where build_id = (select build_id from state.current_build) and verdict != 'passed'
            """
        ).fetchall()
    return {trait for (trait,) in rows}


def _is_rebuilt(home: Path) -> bool:
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        row = connection.execute("select full_refresh from state.current_build").fetchone()
    return bool(row and row[0])


def try_edits(folder: Path, count: int | None, seed: int) -> list[EditOutcome]:
    """Every kind of edit, or so many at random; what was tried in this folder with this seed is not tried again."""
    trial, done = EditTrial(folder), folder / f"done-{seed}.ndjson"
    trial.prepare()
    outcomes = [EditOutcome(**json.loads(line)) for line in done.read_text().splitlines()] if done.exists() else []
    kinds = list(KINDS) if count is None else Random(seed).sample(list(KINDS), count)
    for kind in kinds:
        if kind not in {outcome.kind for outcome in outcomes}:
            outcome = trial.edit(kind, Random(f"{seed} {kind}"))
            outcomes.append(outcome)
            with done.open("a") as stream:
                stream.write(json.dumps(asdict(outcome)) + "\n")
            print(f"{kind}: {outcome.what}: {outcome.outcome}, {outcome.differing} differ {outcome.where}", flush=True)
    return outcomes


def summary(outcomes: list[EditOutcome]) -> str:
    """One line an edit."""
    head = [
        "edit",
        "what",
        "times kept",
        "outcome",
        "rows compared",
        "changed by the edit",
        "rows that differ",
        "traits withheld",
    ]
    lines = [
        [
            outcome.kind,
            outcome.what.replace("|", "/")[:70],
            "yes" if outcome.times_kept else "no",
            outcome.outcome,
            f"{outcome.rows:,}",
            f"{outcome.changed:,}",
            outcome.differing,
            outcome.withheld,
        ]
        for outcome in outcomes
    ]
    return table(head, lines)


def main() -> int:
    """Edits, refreshes, compares."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--edits", type=int)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        outcomes = try_edits(folder.absolute(), given.edits, given.seed)
    print(summary(outcomes))
    if given.edits is None:
        TABLE.write_text(f"# Edits\n\n`make prove-edits` writes this.\n\n{summary(outcomes)}\n")
    print(json.dumps({"edits": len(outcomes), "wrong": sum(outcome.differing > 0 for outcome in outcomes)}))
    return 1 if any(outcome.differing for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
