"""Kinds of edits of a project: each changes files of a copy at a place chosen at random, and says what it did.

The copy is more than the project: a catalogue of plans that is larger than a mebibyte, a dbt package, and an
environment variable that its macro reads, so that these can be edited, too.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from orchestration.simulator.parameters import SOURCE
from tests.cache import copy_project

MODULUS = "EXTRAS_MODULUS"
PLANS, EVENTS = "seeds/plan_catalog.csv", "seeds/event_catalog.csv"
_STAGES = ("events", "identity", "sessions", "activity", "features")
_LITERAL = re.compile(r"(?<![\w.'\"\[{,-])([2-9]|[1-9]\d{1,3})(?![\w.'\"\]},])")
_EXTRAS = "{% macro keeps(column) %}{{ column }} % {{ env_var('EXTRAS_MODULUS', '7') }} != 3{% endmacro %}\n"
Edit = Callable[[Path, Random], str]


def edited_project(folder: Path) -> Path:
    """A copy of the project with a large seed and a package."""
    copy_project(folder)
    with (folder / PLANS).open("a") as seed:
        seed.writelines(f"plan-{number:04d}-{'x' * 240},{number % 5}\n" for number in range(4500))
    assert (folder / PLANS).stat().st_size > 1 << 20
    for place in (folder / "extras", folder / "dbt_packages" / "extras"):
        (place / "macros").mkdir(parents=True)
        (place / "dbt_project.yml").write_text("name: extras\nversion: 1.0.0\nconfig-version: 2\n")
        (place / "macros" / "keeps.sql").write_text(_EXTRAS)
    (folder / "packages.yml").write_text("packages:\n  - local: extras\n")
    kept = "    from rebuilt\n    where {{ extras.keeps('rebuilt.event_count') }}\n"
    replace(folder / "models" / "sessions" / "fct_sessions.sql", "    from rebuilt\n", kept)
    return folder


def replace(path: Path, old: str, new: str) -> str:
    """Replaces the first place of a text in a file."""
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new, 1))
    return f"{path.name}: {' '.join(old.split())} -> {' '.join(new.split())}"


def _models(folder: Path) -> list[Path]:
    return sorted(path for stage in _STAGES for path in (folder / "models" / stage).rglob("*.sql"))


def _another_number(paths: list[Path], random: Random) -> str:
    """Adds one to a number somewhere in the code of one of these files."""
    places = []
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines()):
            if "--" not in line and "{#" not in line:
                places += [(path, number, found.start(1), found[1]) for found in _LITERAL.finditer(line)]
    path, number, at, old = random.choice(places)
    lines = path.read_text().splitlines(keepends=True)
    lines[number] = lines[number][:at] + str(int(old) + 1) + lines[number][at + len(old) :]
    path.write_text("".join(lines))
    return f"{path.name}:{number + 1}: {old} -> {int(old) + 1}"


def _behaviours(folder: Path, random: Random, *, same_size: bool) -> str:
    path = folder / EVENTS
    lines = path.read_text().splitlines(keepends=True)
    known = sorted({line.split(",")[5] for line in lines[1:]} - {""})
    ours = [number for number, line in enumerate(lines) if line.startswith(f"{SOURCE},") and line.split(",")[5]]
    number = random.choice(ours)
    cells = lines[number].split(",")
    others = [name for name in known if name != cells[5] and (len(name) == len(cells[5]) or not same_size)]
    before, cells[5] = cells[5], random.choice(others or known)
    lines[number] = ",".join(cells)
    path.write_text("".join(lines))
    return f"{cells[1]}: {before} -> {cells[5]}"


def _drop_line(path: Path, random: Random, start: str) -> str:
    lines = path.read_text().splitlines(keepends=True)
    gone = random.choice([line for line in lines if line.startswith(start)])
    lines.remove(gone)
    path.write_text("".join(lines))
    return f"without {gone.strip()}"


def _var(folder: Path, random: Random) -> str:
    values = {
        "session_gap_minutes: 30": ("20", "31", "60"),
        "session_max_minutes: 720": ("240", "360"),
        "reporting_time_zone: UTC": ("America/New_York", "Asia/Kolkata"),
        "shared_device_users: 5": ("1", "2"),
        "trial_days: 14": ("7", "30"),
        "minimum_population: 50": ("20", "500"),
        "session_ids: gap": ("native",),
        "input_freshness_hours: 72": ("1000",),
    }
    old = random.choice(sorted(values))
    return replace(folder / "dbt_project.yml", old, f"{old.split(':')[0]}: {random.choice(values[old])}")


def _any_config(folder: Path, random: Random) -> str:
    """A configuration in a YAML file."""
    new = random.choice(["      tags: [new]\n", "      on_schema_change: ignore\n", "      group: null\n"])
    path = random.choice(sorted((folder / "models" / "activity").glob("*.yml")))
    return replace(path, "    config:\n", f"    config:\n{new}")


def _materialized(folder: Path, random: Random) -> str:
    path = random.choice([path for path in _models(folder) if "in_place('view')" in path.read_text()])
    return replace(path, "in_place('view')", "in_place('table')")


def _incremental_becomes_table(folder: Path, random: Random) -> str:
    path = folder / "models" / "activity" / random.choice(["fct_feature_usage_daily.sql", "fct_pricing_looks.sql"])
    return replace(path, "in_place('incremental')", "in_place('table')")


def _project_config(folder: Path, random: Random) -> str:
    old, new = random.choice(
        [
            ("plan: string, rank: bigint", "plan: string, rank: integer"),
            ("+on_schema_change: fail", "+on_schema_change: ignore"),
            (
                "    sessions:\n      +schema: sessions\n",
                "    sessions:\n      +schema: sessions\n      +tags: [visits]\n",
            ),
            ("sources: generic ", 'sources: "generic,segment" '),
        ]
    )
    return replace(folder / "dbt_project.yml", old, new)


def _profile(folder: Path, random: Random) -> str:
    old, new = random.choice([("threads: 2", "threads: 1"), ("preserve_insertion_order: false", "threads: 1")])
    return replace(folder / "profiles.yml", old, new)


def _rule(folder: Path, random: Random) -> str:
    """Another number in a condition of a trait, in the same number of bytes."""
    places = []
    for path in sorted((folder / "models" / "traits").rglob("*.yml")):
        places += [(path, found) for found in re.findall(r"when: .*[<>]=? \d+\n", path.read_text())]
    path, old = random.choice(places)
    number = re.findall(r"\d+", old)[-1]
    new = number[:-1] + str((int(number[-1]) + 1) % 10)
    return replace(path, old, f"{old[: -len(number) - 1]}{new}\n")


def _trait_words(folder: Path, random: Random) -> str:
    path = random.choice(sorted((folder / "models" / "traits" / "users").glob("*.yml")))
    return replace(path, "          title: ", "          title: Surely ")


def _trait_version(folder: Path, random: Random) -> str:
    path = random.choice(sorted((folder / "models" / "traits" / "users").glob("*.yml")))
    (old,) = re.findall(r"          version: \d+\n", path.read_text())
    return replace(path, old, f"          version: {int(old.split()[1]) + 1}\n")


def _fewer_upstream(folder: Path, random: Random) -> str:
    path = folder / "models" / "traits" / "users" / "lifecycle_stage.yml"
    return replace(path, "[activated, at_risk, dormant, resurrected]", "[resurrected, dormant, at_risk, activated]")


def _added_trait(folder: Path, random: Random) -> str:
    users, days = folder / "models" / "traits" / "users", random.choice(["14", "21", "35"])
    for suffix in (".sql", ".yml"):
        text = (users / f"dormant{suffix}").read_text()
        text = text.replace("dormant", "asleep").replace("Dormant", "Asleep").replace("28", days)
        (users / f"asleep{suffix}").write_text(text)
    return f"asleep after {days} days"


def _deleted_trait(folder: Path, random: Random) -> str:
    """A trait that no other names."""
    files = sorted((folder / "models" / "traits").rglob("*.*"))
    text = {path: path.read_text() for path in files}
    alone = [
        path
        for path in files
        if path.suffix == ".yml"
        and path.with_suffix(".sql").exists()
        and not any(re.search(rf"\b{path.stem}\b", text[other]) for other in files if other.stem != path.stem)
    ]
    path = random.choice(alone)
    for suffix in (".sql", ".yml"):
        path.with_suffix(suffix).unlink()
    return path.stem


def _renamed_argument(folder: Path, random: Random) -> str:
    path = folder / "macros" / "numbers.sql"
    path.write_text(path.read_text().replace("fresh", "newest"))
    return f"{path.name}: fresh -> newest"


def _macro_calls(folder: Path, random: Random) -> str:
    """What other macros do by way of this one."""
    return replace(folder / "macros" / "numbers.sql", "+ 0.5)", f"+ 0.{random.choice('1249')})")


def _comment(folder: Path, random: Random) -> str:
    path = random.choice(_models(folder))
    path.write_text(f"{path.read_text().rstrip()}\n-- Nothing else.\n")
    return path.name


def _blanks(folder: Path, random: Random) -> str:
    path = random.choice(_models(folder))
    path.write_text(path.read_text().replace("\n    select", "\n      select", 1) + "\n\n")
    return path.name


def _touched(folder: Path, random: Random) -> str:
    for path in folder.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return "every file"


def _moved(folder: Path, random: Random) -> str:
    path = random.choice(_models(folder))
    (path.parent / "deeper").mkdir(exist_ok=True)
    shutil.move(path, path.parent / "deeper" / path.name)
    return f"{path.name} into a folder"


def _environment(folder: Path, random: Random) -> str:
    os.environ[MODULUS] = random.choice(["2", "3", "5"])
    return f"{MODULUS}={os.environ[MODULUS]}"


def _large_seed(folder: Path, random: Random) -> str:
    plan, old = random.choice([("trial", "0"), ("team", "2")])
    return replace(folder / PLANS, f"\n{plan},{old}\n", f"\n{plan},{9 if plan == 'trial' else 0}\n")


def _extras(folder: Path, random: Random) -> str:
    return replace(folder / "dbt_packages" / "extras" / "macros" / "keeps.sql", "!= 3", f"!= {random.choice('01245')}")


def _macros(folder: Path, inner: str) -> list[Path]:
    return sorted((folder / "macros" / inner).glob("*.sql"))


KINDS: dict[str, Edit] = {
    "a behaviour in a seed": lambda folder, random: _behaviours(folder, random, same_size=False),
    "a behaviour of the same length in a seed": lambda folder, random: _behaviours(folder, random, same_size=True),
    "a rank in a seed of more than 1 MiB": _large_seed,
    "a row taken from a seed": lambda folder, random: _drop_line(folder / EVENTS, random, f"{SOURCE},"),
    "an attribute taken from a seed": lambda folder, random: _drop_line(
        folder / "seeds" / "attribute_catalog.csv", random, "account," if random.random() < 0.5 else "user,"
    ),
    "a var": _var,
    "a number in a model": lambda folder, random: _another_number(_models(folder), random),
    "a number in a macro": lambda folder, random: _another_number(_macros(folder, "."), random),
    "a number in an engine macro": lambda folder, random: _another_number(_macros(folder, "engine"), random),
    "a macro that others call": _macro_calls,
    "a macro of a package": _extras,
    "an environment variable": _environment,
    "a view becomes a table": _materialized,
    "an incremental model becomes a table": _incremental_becomes_table,
    "a configuration in YAML": _any_config,
    "dbt_project.yml": _project_config,
    "profiles.yml": _profile,
    "a number in a rule, of the same length": _rule,
    "the title of a trait": _trait_words,
    "the version of a trait": _trait_version,
    "the order of upstream_traits": _fewer_upstream,
    "a trait more": _added_trait,
    "a trait less": _deleted_trait,
    "an argument of a macro renamed": _renamed_argument,
    "a comment": _comment,
    "blanks": _blanks,
    "a model moved to another folder": _moved,
    "touched": _touched,
}
