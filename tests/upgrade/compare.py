"""Compares what this version publishes with what another version published from the same events.

    python -m tests.upgrade.compare --against 4f4a3ef

Both versions run in folders and homes of their own, through the same commands at the same clocks: the two samples,
loaded, refreshed, learned from, backfilled, waived, rolled back and sent; and 500 random streams. Then every table of
the warehouse, every published table, every delivered file and the ledger of deliveries are compared row for row, after
the renames that `renames.py` declares. A home that the other version made is also taken over by this one. What the
other version made is kept in a cache folder, so that it is made once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestration.home import PROJECT_ROOT
from tests.streams.harness import OF_THE_RUN
from tests.upgrade.scenarios import SYNCS, Scenario, Step, do, write_inputs
from tests.upgrade.tables import Difference, compare_tables, freeze_home, freeze_rows

DRIVER = Path(__file__).with_name("drive.py")
# Of these parameters both versions have to make the same bytes.
SIMULATIONS = {
    "default": [],
    "another": ["--accounts", "20", "--days", "60", "--seed", "7", "--difficulty", "0.9", "--end", "2025-03-01"],
}
SIMULATED = "events.ndjson.gz"
# The version that takes a home over rebuilds it, so that its work lists are those of a rebuild.
WORK_LISTS = {table.split(".")[1] for table in OF_THE_RUN}
WORK_LISTS |= {"new_events", "candidate_events", "owned_events", "bucketed_events"}
TAKEN_OVER = ("traits", "served", "delivered", "candidates", "events", "identity", "sessions", "activity", "entities")
TAKEN_OVER += ("features",)


@dataclass(frozen=True)
class Version:
    """A version of the project in a folder of its own.

    Attributes:
        name: as it is shown.
        key: of its content.
        folder: where its files are.
        cache: where what it makes is kept.

    """

    name: str
    key: str
    folder: Path
    cache: Path


def main() -> int:
    """Runs both versions, and prints what differs."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--against", default="4f4a3ef", help="revision to compare with")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "traithouse-upgrade")
    parser.add_argument("--only", action="append", help="shop, product, streams or simulator; may be repeated")
    parser.add_argument("--verbose", action="store_true", help="a line a table")
    given = parser.parse_args()
    began = time.monotonic()
    given.cache.mkdir(parents=True, exist_ok=True)
    before, after = earlier_version(given.against, given.cache), this_version(given.cache)
    print(f"before: {before.name}\nafter:  {after.name}\n(cache: {given.cache})", flush=True)
    differences = compare_versions(before, after, given.cache, given.only)
    wrong = show(differences, verbose=given.verbose)
    print(f"{time.monotonic() - began:.0f} seconds")
    return 1 if wrong else 0


def compare_versions(before: Version, after: Version, cache: Path, only: list[str] | None) -> list[Difference]:
    """Everything that is compared, in the order in which it is made."""
    simulated = [simulate(version) for version in (before, after)]
    differences = compare_tables("simulator", *simulated)
    inputs = cache / "inputs"
    shutil.rmtree(inputs, ignore_errors=True)
    scenarios = write_inputs(inputs, simulated[0].parent / "default" / SIMULATED)
    for scenario in scenarios:
        if only and scenario.name not in only:
            continue
        made = [made_by(version, scenario, inputs) for version in (before, after)]
        differences += compare_tables(scenario.name, *made)
        if scenario.taken_over:
            taken_over = take_over(after, scenario, made[0].parent / "kept", inputs)
            differences += [
                found
                for found in compare_tables("taken over", made[0], taken_over, schemas=TAKEN_OVER)
                if found.table.split(".")[1] not in WORK_LISTS
            ]
    return differences


def show(differences: Iterable[Difference], *, verbose: bool = False) -> int:
    """Prints a table: what was compared, rows on each side, rows that differ; gives how many differ in all."""
    groups: dict[str, list[Difference]] = {}
    for found in differences:
        key = f"{found.scenario}: {found.table if verbose else found.table.partition('.')[0]}"
        groups.setdefault(key, []).append(found)
    print(f"\n{'compared':<44}{'tables':>7}{'rows before':>13}{'rows after':>12}{'differ':>8}")
    rows = [(name, len(group), *totals(group)) for name, group in groups.items()]
    rows.append(("all", sum(map(len, groups.values())), *totals([one for group in groups.values() for one in group])))
    for name, tables, old, new, wrong in rows:
        print(f"{name:<44}{tables:>7,}{old:>13,}{new:>12,}{wrong:>8,}")
    for found in (found for group in groups.values() for found in group if found.differing):
        print(f"\n{found.scenario}: {found.table}: {found.differing:,} rows differ", *found.examples, sep="\n  ")
    return sum(found.differing for group in groups.values() for found in group)


def totals(group: list[Difference]) -> tuple[int, int, int]:
    """Rows before, rows after, rows that differ."""
    return sum(d.rows_before for d in group), sum(d.rows_after for d in group), sum(d.differing for d in group)


def earlier_version(revision: str, cache: Path) -> Version:
    """Another revision, unpacked once."""
    commit = git("rev-parse", f"{revision}^{{commit}}").strip()
    folder = cache / commit[:12] / "project"

    def unpack(draft: Path) -> None:
        archive = subprocess.run(["git", "archive", commit], cwd=PROJECT_ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(draft)], input=archive, check=True)

    once(folder, unpack)
    title = git("log", "-1", "--format=%h %s", commit).strip()
    return Version(title, commit, folder, folder.parent)


def this_version(cache: Path) -> Version:
    """The files as they are now, also those that are not committed."""
    listed = git("ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    names = sorted(name for name in listed if (PROJECT_ROOT / name).is_file())
    key = hash_of([(name, (PROJECT_ROOT / name).read_bytes()) for name in names if is_run(name)])
    folder = cache / f"now-{key[:12]}" / "project"
    for other in cache.glob("now-*"):
        if other != folder.parent:
            shutil.rmtree(other)

    def copy(draft: Path) -> None:
        for name in names:
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT_ROOT / name, draft / name)

    once(folder, copy)
    return Version(f"the files in {PROJECT_ROOT}", key, folder, folder.parent)


def is_run(name: str) -> bool:
    """Whether a file can change what the commands do."""
    return name.split("/")[0] in ("orchestration", "models", "macros", "seeds") or name.endswith("yml")


def once(folder: Path, make: Callable[[Path], None]) -> None:
    """Makes a version's folder, unless it is there; one that was cut off is made again."""
    if folder.exists():
        return
    draft = folder.with_name("draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    make(draft)
    (draft / "models" / "syncs" / "upgrade.yml").write_text(SYNCS)
    draft.rename(folder)


def simulate(version: Version) -> Path:
    """The simulator's files; the tables that are compared hold the hash of each."""
    place = version.cache / "simulated"
    frozen = place / "tables.duckdb"
    if not frozen.exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        steps = [
            do("simulate|sandbox", *options, "--folder", str(place / name)) | {"name": f"simulate {name}"}
            for name, options in SIMULATIONS.items()
        ]
        drive(version, steps, place / "home", place)
        files = [place / name / file for name in SIMULATIONS for file in (SIMULATED, "truth.csv")]
        rows = [
            {
                "simulation": file.parent.name,
                "file": file.name,
                "bytes": file.stat().st_size,
                "sha256": hash_of([("", file.read_bytes())]),
            }
            for file in files
        ]
        freeze_rows(place / "draft.duckdb", {"simulated.files": rows})
        (place / "draft.duckdb").rename(frozen)
    return frozen


def made_by(version: Version, scenario: Scenario, inputs: Path) -> Path:
    """All that a version makes of a scenario, in one file; made once of the same inputs."""
    files = [(path.name, path.read_bytes()) for path in sorted(inputs.glob(f"{scenario.name}_*"))]
    key = hash_of([*files, ("steps", json.dumps(scenario.steps).encode()), ("syncs", SYNCS.encode())])
    place = version.cache / f"{scenario.name}-{key[:12]}"
    return made_in(version, scenario.name, scenario.steps, place, inputs)


def take_over(version: Version, scenario: Scenario, earlier_home: Path, inputs: Path) -> Path:
    """What a version makes of the last steps in a home that another version made."""
    place = version.cache / f"{scenario.name}-taken-over"
    steps = [{"name": "take over", "copy_from": str(earlier_home)}, *scenario.taken_over]
    return made_in(version, f"{scenario.name}, taken over", steps, place, inputs)


def made_in(version: Version, name: str, steps: list[Step], place: Path, inputs: Path) -> Path:
    """Runs steps in a new home, and freezes what they leave."""
    frozen, answers = place / "tables.duckdb", place / "answers.json"
    home = place / "home"
    if not answers.exists():
        print(f"{name}, by {version.name}", flush=True)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if "copy_from" in steps[0]:
            shutil.copytree(steps[0]["copy_from"], home, symlinks=True)
            steps = steps[1:]
        folders = {"{inputs}": str(inputs), "{kept}": str(place / "kept")}
        given = drive(version, [filled(step, folders) for step in steps], home, place)
        answers.write_text(json.dumps(given))
    if not frozen.exists():
        codes = [
            {"step": f"{number} {answer['step']}", "exit_code": answer["exit_code"]}
            for number, answer in enumerate(json.loads(answers.read_text()))
        ]
        freeze_home(home, place / "draft.duckdb", {"commands.exit_codes": codes})
        (place / "draft.duckdb").rename(frozen)
        shutil.rmtree(home)
    return frozen


def filled(step: Step, folders: dict[str, str]) -> Step:
    """The step with its folders in the place of their names."""
    text = json.dumps(step)
    for name, folder in folders.items():
        text = text.replace(name, folder)
    return dict(json.loads(text))


def drive(version: Version, steps: list[Step], home: Path, place: Path) -> list[dict[str, object]]:
    """Runs steps in a process of the version, and gives the answer to each."""
    answers = place / "answers.ndjson"
    answers.unlink(missing_ok=True)
    plan = place / "plan.json"
    plan.write_text(json.dumps({"steps": steps, "home": str(home), "answers": str(answers)}))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRAITHOUSE_", "DBT_"))}
    environment |= {
        "PYTHONPATH": str(version.folder),
        "PYTHONSAFEPATH": "1",
        "TRAITHOUSE_HOME": str(home),
        "TRAITHOUSE_USER": "somebody",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DO_NOT_TRACK": "1",
    }
    subprocess.run([sys.executable, str(DRIVER), str(plan)], cwd=version.folder, env=environment, check=True)
    return [json.loads(line) for line in answers.read_text().splitlines()]


def hash_of(parts: Iterable[tuple[str, bytes]]) -> str:
    """Of names and contents."""
    digest = hashlib.sha256()
    for name, content in parts:
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def git(*arguments: str) -> str:
    """What git prints."""
    return subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
