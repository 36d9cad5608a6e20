"""Ten kills; `make prove-syncs` makes more than a hundred."""

import json
import subprocess
import sys

import pytest

from orchestration.home import PROJECT_ROOT


@pytest.mark.long
def test_a_killed_sync_loses_nothing_and_sends_at_most_one_batch_a_worker_again() -> None:
    command = [sys.executable, "-m", "tests.faults.syncs", "--kills", "10"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {"kills": 10, "wrong": 0}
