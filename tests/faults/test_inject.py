"""Each fault of the matrix alone: what it breaks is withheld, all else goes out, and the user is told.

One fault of each mechanism runs before every commit; `make prove-faults` prints the matrix of all.
"""

from pathlib import Path

import pytest

from tests.faults.fixture import Fixture, cached_fixture
from tests.faults.inject import faults
from tests.faults.injection import Fault, run, wrongs

BEFORE_EVERY_COMMIT = {
    "the file is cut off",
    "a tracker is silent",
    "a trait's model fails",
    "a quarter of the population is lost",
    "a candidate is gone",
    "rows are written by hand before the gate looks",
    "a verdict is missing",
    "a verdict was turned from failed to passed",
    "a value changed after the audit",
    "killed while a trait is published",
    "the disk is full while the snapshot is written",
    "the serving folder is read-only",
    "a trait is no longer declared",
    "manifest.json is cut off",
    "the database is garbage",
    "the lock of a killed process is left",
}


@pytest.fixture(scope="session")
def fixture() -> Fixture:
    return cached_fixture()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            fault,
            id=f"{fault.stage}: {fault.name}",
            marks=() if fault.name in BEFORE_EVERY_COMMIT else pytest.mark.long,
        )
        for fault in faults()
    ],
)
def test_a_fault_withholds_what_it_breaks_and_nothing_else(fault: Fault, fixture: Fixture, tmp_path: Path) -> None:
    assert wrongs(fault, run(fault, fixture, tmp_path), fixture) == []


def test_the_matrix_is_as_large_as_promised_and_names_are_unique() -> None:
    named = {(fault.stage, fault.name) for fault in faults()}
    assert len(named) == len(faults()) >= 93
    assert {stage for stage, _ in named} == {"raw", "staging", "candidates", "verdicts", "publish", "snapshot"}
    assert {name for _, name in named} >= BEFORE_EVERY_COMMIT
