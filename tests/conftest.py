"""Houses to test in: an empty one, and copies of one that holds the published sample."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.home import PROJECT_ROOT, House, Settings
from orchestration.landing.load import load
from orchestration.pipeline.refresh import refresh
from orchestration.simulator.bundled import SAMPLE
from orchestration.transform.content import content_hash
from orchestration.transform.dbt import DbtProject

NOW = datetime(2026, 1, 1)


@pytest.fixture(scope="session")
def project() -> DbtProject:
    """The project, parsed once a session; ``of_house`` moves it to another home."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        parsed = DbtProject(House(Settings(home=Path(folder))))
        _ = parsed.manifest, parsed.manifest_dict, parsed.catalog
    return parsed


@pytest.fixture(scope="session")
def of_house(project: DbtProject) -> Callable[[House], DbtProject]:
    """The parsed project in another home."""

    def moved(house: House) -> DbtProject:
        other = DbtProject(house)
        other.__dict__.update(manifest=project.manifest, manifest_dict=project.manifest_dict, catalog=project.catalog)
        return other

    return moved


@pytest.fixture
def house(tmp_path: Path) -> House:
    """An empty house."""
    return House(Settings(home=tmp_path / "home"))


@pytest.fixture(scope="session")
def published_home(tmp_path_factory: pytest.TempPathFactory, of_house: Any) -> Path:
    """A home with the sample loaded and published; copy it, do not touch it."""
    home = tmp_path_factory.mktemp("published") / "home"
    made = House(Settings(home=home))
    load(made, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
    refresh(made, of_house(made))
    return home


@pytest.fixture
def sample_house(published_home: Path, tmp_path: Path) -> House:
    """A house of one's own with the sample published."""
    home = tmp_path / "home"
    shutil.copytree(published_home, home, symlinks=True)
    return House(Settings(home=home))


@pytest.fixture
def sample_project(sample_house: House, of_house: Callable[[House], DbtProject]) -> DbtProject:
    """The project in ``sample_house``."""
    return of_house(sample_house)


@pytest.fixture
def events_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes events as NDJSON."""
    number = iter(range(1000))

    def write(events: Iterable[dict[str, Any]], name: str | None = None) -> Path:
        path = tmp_path / (name or f"events_{next(number)}.ndjson")
        path.write_text("".join(json.dumps(event, default=str) + "\n" for event in events))
        return path

    return write


@pytest.fixture
def project_copy(tmp_path: Path) -> Iterator[Path]:
    """A copy of the project's files, to change."""
    copy = tmp_path / "project"
    copy.mkdir()
    for folder in ("models", "macros", "seeds", "tests"):
        shutil.copytree(PROJECT_ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(PROJECT_ROOT / file, copy / file)
    yield copy


def served(house: House, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the snapshot that is served."""
    path = (house.serving / "current" / "traithouse.duckdb").resolve()
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def queried(house: House, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the warehouse."""
    with house.connect() as connection:
        return connection.execute(sql).fetchall()


def as_if_made(house: House, project: DbtProject, sql: str) -> None:
    """Changes candidates as if their models had made them so in the current build."""
    with house.connect() as connection:
        connection.execute(sql)
        for trait in project.catalog.traits:
            connection.execute(
                "update state.node_results set content_hash = $1 where name = $2",
                [content_hash(connection, trait.candidate, trait.id_column), trait.name],
            )
