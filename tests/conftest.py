"""Homes to test in: an empty one, and copies of one in which the sample is published."""

from __future__ import annotations

import os

# On samples this small, threads of linear algebra spend twenty times as long waiting for each other as working.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.refresh import refresh
from orchestration.simulator.bundled import SAMPLE
from orchestration.transform.dbt import Project
from tests.builds import change_candidates
from tests.cache import cached, copied, copy_project, parsed_project

NOW = datetime(2026, 1, 1)


@pytest.fixture(scope="session")
def project() -> Project:
    """The project, parsed once for all runs of these files; ``project_in`` moves it to another home."""
    return parsed_project()


@pytest.fixture(scope="session")
def project_in(project: Project) -> Callable[[Home], Project]:
    """The parsed project in another home."""
    return project.replace


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home."""
    return Home(Settings(home=tmp_path / "home"))


def publish_sample(folder: Path) -> None:
    """Loads and publishes the sample."""
    home = Home(Settings(home=folder))
    load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
    refresh(parsed_project(home))


@pytest.fixture(scope="session")
def published_home() -> Path:
    """A home with the sample loaded and published; copy it, do not touch it."""
    return cached("published", publish_sample)


@pytest.fixture
def sample_home(published_home: Path, tmp_path: Path) -> Home:
    """A copy of the home in which the sample is published."""
    return copied(published_home, tmp_path / "home")


@pytest.fixture
def sample_project(sample_home: Home, project_in: Callable[[Home], Project]) -> Project:
    """The project in ``sample_home``."""
    return project_in(sample_home)


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
    yield copy_project(tmp_path / "project")


def served(home: Home, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the snapshot that is served."""
    path = (home.serving / "current" / "traithouse.duckdb").resolve()
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def queried(home: Home, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the warehouse."""
    with home.connect() as connection:
        return connection.execute(sql).fetchall()


def as_if_made(home: Home, project: Project, sql: str) -> None:
    """Changes candidates as if their models had made them so in the current build."""
    change_candidates(project.replace(home), sql)
