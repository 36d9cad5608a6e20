"""Calls of the command line in this process."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from orchestration.cli import app as cli
from orchestration.home import Home
from orchestration.transform.dbt import Project

Traithouse = Callable[..., Result]


@pytest.fixture
def traithouse(project_in: Callable[[Home], Project], monkeypatch: pytest.MonkeyPatch) -> Traithouse:
    """Calls the command line in this process, with the project parsed already."""
    monkeypatch.setattr(cli, "Project", project_in)

    def call(*arguments: object, home: Home) -> Result:
        return CliRunner().invoke(cli.main, [*map(str, arguments), "--home", str(home.root)])

    return call
