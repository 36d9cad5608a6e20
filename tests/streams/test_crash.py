"""A refresh that is killed is made good by the next one."""

import subprocess
import sys

import pytest

from orchestration.home import PROJECT_ROOT


@pytest.mark.long
def test_a_kill_between_steps_changes_no_row() -> None:
    """Every ninth step here; `make prove-crash` takes all."""
    command = [sys.executable, "-m", "tests.streams.crash", "--every", "9", "--first", "5"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=800)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 after which rows differ" in result.stdout
