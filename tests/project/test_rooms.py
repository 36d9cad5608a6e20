"""Arrows between the rooms of ``orchestration/`` go down: a room imports rooms below it, none of its own level."""

import ast
from collections.abc import Iterator
from pathlib import Path

from orchestration.home import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "orchestration"

# Lowest first; rooms of one level do not know each other.
LEVELS = (
    ("errors", "migrations"),
    ("damage",),
    ("home",),
    ("declarations",),
    ("landing", "mapping", "simulator", "destinations"),
    ("transform",),
    ("published",),
    ("gates",),
    ("publishing", "sync"),
    ("measurement", "plays"),
    ("learning", "serving", "admin"),
    ("spark",),
    ("pipeline",),
    ("defs",),
    ("cli",),
    ("definitions", "__main__"),
)
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}


def imported(source: str) -> Iterator[str]:
    """Modules of the package that a source file imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("orchestration."))
        elif isinstance(node, ast.ImportFrom) and node.module == "orchestration":
            yield from (f"orchestration.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("orchestration."):
            yield str(node.module)


def upward(room: str, source: str) -> list[str]:
    """What a file of a room imports from its own level or above it."""
    return sorted(
        {name for name in imported(source) if (to := name.split(".")[1]) != room and LEVEL[to] >= LEVEL[room]}
    )


def room_of(path: Path) -> str:
    """The folder below ``orchestration/``, or the file there."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_room_has_its_level() -> None:
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert rooms <= set(LEVEL)


def test_no_import_runs_up() -> None:
    found = {
        str(path.relative_to(PACKAGE)): up
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "__init__.py" or path.parent != PACKAGE
        if (up := upward(room_of(path), path.read_text()))
    }
    assert found == {}


def test_an_import_that_runs_up_is_found() -> None:
    assert upward("gates", "from orchestration.publishing.publish import publish") == [
        "orchestration.publishing.publish"
    ]
    assert upward("gates", "def late():\n    import orchestration.sync.engine") == ["orchestration.sync.engine"]
    assert upward("sync", "from orchestration.publishing import snapshot") == ["orchestration.publishing"]
    assert upward("publishing", "from orchestration.gates.verdicts import Verdict") == []


def test_class_names_are_unique() -> None:
    places: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
