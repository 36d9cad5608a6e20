"""What lies in a home is its owner's alone."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.defs.instance import dagster_environment
from orchestration.home import Home, write_atomically
from orchestration.landing.load import load
from orchestration.pipeline.refresh import refresh
from orchestration.simulator.bundled import SAMPLE
from orchestration.sync.engine import run_sync
from orchestration.transform.dbt import Project


def open_to_others(root: Path) -> list[str]:
    """Files and folders below a folder, itself included, that group or others have any right to."""
    every = [root, *root.rglob("*")]
    return [str(path) for path in every if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077]


@pytest.mark.long
def test_every_file_is_readable_by_its_owner_only(home: Home, project_in: Callable[[Home], Project]) -> None:
    before = os.umask(0o022)
    try:
        load(home, [SAMPLE.path], mapping=SAMPLE.mapping, source=SAMPLE.source)
        project = project_in(home)
        refresh(project)
        run_sync(home, project.catalog, project.catalog.sync("outbox"))
        dagster_environment(home)
    finally:
        os.umask(before)
    made = {path.name for path in home.root.rglob("*")}
    assert {"warehouse.duckdb", "traithouse.duckdb", "trait_values", "status.json", "outbox"} <= made
    assert open_to_others(home.root) == []


def test_a_file_that_is_replaced_keeps_its_rights(tmp_path: Path) -> None:
    shared = tmp_path / "catalogue.csv"
    shared.write_text("old")
    shared.chmod(0o644)
    before = os.umask(0o077)
    try:
        write_atomically(shared, "new")
    finally:
        os.umask(before)
    assert shared.read_text() == "new"
    assert stat.S_IMODE(shared.stat().st_mode) == 0o644
