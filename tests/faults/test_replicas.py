"""A few publishes while replicas answer, one killed and one upgraded; `make prove-replicas` makes a hundred."""

import subprocess
import sys

import pytest

from orchestration.home import PROJECT_ROOT


@pytest.mark.long
def test_callers_meet_no_failure_and_no_mixed_build_while_replicas_are_killed_and_upgraded() -> None:
    command = [sys.executable, "-m", "tests.faults.replicas", "--publishes", "6"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    cells = [cell.strip() for cell in result.stdout.splitlines()[2].split("|")[1:-1]]
    publishes, requests, builds, failed, mixed = map(int, cells[:5])
    assert (publishes, failed, mixed) == (6, 0, 0)
    assert builds >= 3
    assert requests > 100
