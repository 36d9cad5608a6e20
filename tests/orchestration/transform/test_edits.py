"""Two edits of the project; `make prove-edits` tries every kind."""

import json
import subprocess
import sys

import pytest

from orchestration.home import PROJECT_ROOT


@pytest.mark.long
def test_a_refresh_after_an_edit_is_like_a_build_with_it() -> None:
    command = [sys.executable, "-m", "tests.orchestration.transform.edits", "--edits", "2", "--seed", "5"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {"edits": 2, "wrong": 0}
