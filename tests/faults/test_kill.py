"""About ten kills; `make prove-kill` makes more than two hundred."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.home import PROJECT_ROOT, Home, Settings
from tests.faults.fixture import contradictions


@pytest.mark.long
def test_a_killed_load_audit_or_publish_is_never_half_read_and_repaired_by_the_next_run() -> None:
    command = [sys.executable, "-m", "tests.faults.kill", "--runs", "10"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
    total = [cell.strip() for cell in result.stdout.splitlines()[-1].split("|")[1:-1]]
    runs, old, new, *harm = (int(cell) for cell in total[2:])
    assert runs == old + new >= 9
    assert harm == [0, 0, 0]


def test_a_snapshot_of_two_builds_would_be_seen(published_home: Path, tmp_path: Path) -> None:
    home_folder = tmp_path / "home"
    shutil.copytree(published_home, home_folder, symlinks=True)
    home = Home(Settings(home=home_folder))
    assert contradictions(home) == []
    manifest = home.serving / "current" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("000001-", "000002-"))
    assert "manifest of 000002-" in contradictions(home)[0]
