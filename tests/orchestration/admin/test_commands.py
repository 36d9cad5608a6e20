"""Administration from the command line: what it prints holds no id, and exit codes say what went wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestration.cli import app as cli
from orchestration.home import Home
from orchestration.transform.dbt import Project
from tests.orchestration.admin.search import PAT_IDS, places


@pytest.fixture
def traithouse(project_in: Callable[[Home], Project], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Calls the command line in this process, with the project parsed already."""
    monkeypatch.setattr(cli, "Project", project_in)

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(cli.main, [*map(str, arguments)])

    return call


@pytest.mark.long
def test_backup_forget_restore(traced_home: Home, tmp_path: Path, traithouse: Callable[..., Result]) -> None:
    home, other = ("--home", traced_home.root), ("--home", tmp_path / "other")
    made = json.loads(traithouse("backup", "--json", *home).stdout)
    forgotten = traithouse("forget", "dev-pat-phone", "--json", *home)
    assert forgotten.exit_code == 0
    assert not any(known in forgotten.stdout for known in PAT_IDS)
    assert json.loads(forgotten.stdout)["forgotten"]["pending"] == ["outbox"]
    assert json.loads(forgotten.stdout)["refresh"]["failed_models"] == []
    # The backup was made of a home that knew her, and is restored without her.
    restored = traithouse("restore", made["folder"], *other)
    assert restored.exit_code == 0
    assert places(tmp_path / "other") == set()
    assert traithouse("restore", made["folder"], *other).exit_code == 2
    assert traithouse("forget", "nobody", *home).exit_code == 2
