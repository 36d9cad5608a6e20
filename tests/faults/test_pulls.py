"""Two kills of each server; `make prove-pulls` kills pulls of a million rows."""

import json
import subprocess
import sys

import pytest

from orchestration.home import PROJECT_ROOT


@pytest.mark.long
def test_a_killed_pull_loses_nothing_and_doubles_nothing() -> None:
    command = [sys.executable, "-m", "tests.faults.pulls", "--rows", "4000", "--kills", "2"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {"kills": 4, "wrong": 0}
