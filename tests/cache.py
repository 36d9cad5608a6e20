"""What tests make once and keep on disk: the parsed project, and homes to copy.

An entry is kept under a hash over the contents of all that decides it: the project's code, its dbt files, the pinned
packages, Python, and the test module that makes it with those that this imports. All pytest workers and the processes
that they start share it; a file lock lets only one of them make it. `.test-cache/` may be deleted at any time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import os
import pickle
import pprint
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from filelock import FileLock

from orchestration.home import PROJECT_ROOT, Home, Settings
from orchestration.transform.dbt import Project
from orchestration.transform.project_files import ProjectFiles

CACHE = PROJECT_ROOT / ".test-cache"
# What decides how the project parses, and what its homes hold.
PARTS = (
    "requirements.lock",
    "orchestration",
    "dbt_project.yml",
    "profiles.yml",
    "models",
    "macros",
    "seeds",
    "tests/unit",
    "tests/data",
)
# A run of older code may be under way, so the last entry but one stays too.
KEPT_PER_NAME = 2
_NOT_READ = shutil.ignore_patterns("manifest.json", "semantic_manifest.json", "perf_info.json")
TEST_IMPORT = re.compile(r"^(?:from|import) (tests(?:\.\w+)*)(?: import \(?([\w, \n]+))?", re.MULTILINE)


def cached(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that ``make`` has filled, once for these contents of the project; copy from it, never write to it."""
    return _entry(name, _key(modules_behind(Path(inspect.getfile(make)))), make)


def copy_project(folder: Path) -> Path:
    """Copies the project's files into a new folder, to change them there."""
    folder.mkdir()
    for name in ("models", "macros", "seeds", "tests"):
        shutil.copytree(PROJECT_ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(PROJECT_ROOT / name, folder / name)
    return folder


def parsed_project(home: Home | None = None) -> Project:
    """The project, parsed; without a home it is in one that cannot exist."""
    from dbt.contracts.graph.manifest import Manifest

    with (_parsed() / "project.pickle").open("rb") as file:
        fields, parsed = pickle.load(file)
    project = Project(home or Home(Settings(home=Path(os.devnull) / "home")))
    return project.replace(manifest=Manifest(**fields), **parsed)


def add_parsed(home: Home) -> Home:
    """Puts what dbt has parsed into a home, so that neither a command nor a changed project parses everything again."""
    parsed = _parsed()
    shutil.copytree(parsed / "dbt", home.dbt_target, ignore=_NOT_READ, dirs_exist_ok=True)
    # dbt keeps a hash of the connection, and would parse everything again for another warehouse.
    connection = pickle.loads((parsed / "connection.pickle").read_bytes())
    kept = home.dbt_target / "partial_parse.msgpack"
    here = [(name, str(home.warehouse) if name == "path" else value) for name, value in connection]
    kept.write_bytes(kept.read_bytes().replace(_connection_hash(connection), _connection_hash(here)))
    ProjectFiles(PROJECT_ROOT).keep_states(home)
    return home


def copied(folder: Path, to: Path) -> Home:
    """A copy of a home, for one test alone."""
    shutil.copytree(folder, to, symlinks=True)
    return add_parsed(Home(Settings(home=to)))


def _parsed() -> Path:
    return _entry("parsed", _key([Path(__file__)]), _parse)


def _parse(folder: Path) -> None:
    from dbt.adapters.factory import FACTORY

    project = Project(Home(Settings(home=folder)))
    manifest, manifest_dict = project.manifest, project.manifest_dict
    # Field by field, for dbt's own way to pickle a manifest confuses the last ones.
    fields = {
        field.name: getattr(manifest, field.name) for field in dataclasses.fields(manifest) if field.name[0] != "_"
    }
    parsed = {"manifest_dict": manifest_dict, "catalog": project.catalog, "variables": project.variables}
    (folder / "project.pickle").write_bytes(pickle.dumps((fields, parsed)))
    connection = sorted(FACTORY.adapters["duckdb"].config.credentials.connection_info())
    assert _connection_hash(connection) == manifest.state_check.profile_hash.checksum.encode()
    (folder / "connection.pickle").write_bytes(pickle.dumps(connection))


def _connection_hash(connection: list[tuple[str, object]]) -> bytes:
    """As dbt makes it (dbt.parser.manifest, build_manifest_state_check)."""
    return hashlib.sha256(pprint.pformat(connection).encode()).hexdigest().encode()


def _entry(name: str, key: str, make: Callable[[Path], object]) -> Path:
    folder, made = CACHE / f"{name}-{key}", CACHE / f"{name}-{key}.made"
    CACHE.mkdir(exist_ok=True)
    with FileLock(CACHE / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
        made.touch()
        marks = [path for path in CACHE.glob("*.made") if re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{16}}", path.stem)]
        for old in sorted(marks, key=lambda path: -path.stat().st_mtime)[KEPT_PER_NAME:]:
            old.unlink()
            shutil.rmtree(old.with_suffix(""))
    return folder


def _key(modules: list[Path]) -> str:
    facts = [str(PROJECT_ROOT), sys.version, _project_contents(), *(_contents(path) for path in modules)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


@cache
def _project_contents() -> str:
    files = [PROJECT_ROOT / name for name in PARTS]
    files += [path for folder in files for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts]
    return "\n".join(_contents(path) for path in files if path.is_file())


def _contents(path: Path) -> str:
    return f"{path} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def modules_behind(file: Path) -> list[Path]:
    """A module under tests/ and all modules under tests/ that it imports, one by way of another."""
    found: list[Path] = []
    left = [file]
    while left:
        path = left.pop()
        if path not in found:
            found.append(path)
            left += _imported(path.read_text())
    return sorted(found)


def _imported(text: str) -> Iterator[Path]:
    for module, names in TEST_IMPORT.findall(text):
        base = PROJECT_ROOT / module.replace(".", "/")
        for path in (base, *(base / name.strip() for name in names.split(","))):
            yield from (file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())
