"""A few publishes under readers; `make prove-readers` makes a hundred."""

import subprocess
import sys

import pytest

from orchestration.home import PROJECT_ROOT


@pytest.mark.long
def test_readers_meet_no_error_and_no_mixed_build_while_builds_are_published_and_deleted() -> None:
    command = [sys.executable, "-m", "tests.faults.readers", "--publishes", "8", "--each", "1", "--kept", "2"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()[2:]]
    met = {kind: [int(cell) for cell in cells[:4]] for kind, *cells in lines}
    assert len(met) == 5
    for kind, (reads, builds, _, problems) in met.items():
        assert reads >= 2, kind
        assert builds >= 2, kind
        assert problems == 0 or "not promised" in kind, kind
