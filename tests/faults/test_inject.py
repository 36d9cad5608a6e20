"""Each fault of the matrix alone: what it breaks is withheld, all else goes out, and the user is told.

`make attack-faults` adds those that are slow, and prints the matrix.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.transform.dbt import Project
from tests.faults.fixture import Arena, make_arena
from tests.faults.inject import Fault, faults, run, wrongs


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory, project: Project) -> Iterator[Arena]:
    yield make_arena(tmp_path_factory.mktemp("arena"), project)


@pytest.mark.parametrize("fault", [one for one in faults() if not one.slow], ids=lambda one: f"{one.stage}: {one.name}")
def test_a_fault_withholds_what_it_breaks_and_nothing_else(fault: Fault, arena: Arena, tmp_path: Path) -> None:
    assert wrongs(fault, run(fault, arena, tmp_path), arena) == []


def test_the_matrix_is_as_large_as_promised_and_names_are_unique() -> None:
    named = {(fault.stage, fault.name) for fault in faults()}
    assert len(named) == len(faults()) >= 40
    assert {stage for stage, _ in named} == {"raw", "staging", "candidates", "verdicts", "publish", "snapshot"}
