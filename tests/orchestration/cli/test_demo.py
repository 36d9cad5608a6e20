"""The run on sample data."""

from collections.abc import Callable

import pytest
from click.testing import Result

from orchestration.cli import demo
from orchestration.home import PROJECT_ROOT, Home
from orchestration.simulator.parameters import Parameters
from tests.docs.blocks import first_words_of_output

Traithouse = Callable[..., Result]


@pytest.mark.long
def test_run_again_loads_changes_and_delivers_nothing(
    home: Home, traithouse: Traithouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "Parameters", lambda: Parameters(accounts=8, days=60))
    first = traithouse("run", home=home)
    assert first.exit_code == 0
    assert "0 rejected" in first.stdout
    shown = first_words_of_output(PROJECT_ROOT / "README.md", "make run")
    assert len(shown) > 5 and set(shown) <= set(first.stdout.split())
    result = traithouse("run", home=home)
    assert result.exit_code == 0
    assert " 0 loaded, " in result.stdout
    assert "unproven on this data" in result.stdout
    assert str(home.serving / "current" / "traithouse.duckdb") in result.stdout
    assert str(home.outbox) in result.stdout
    assert all(where in result.stdout for where in ("make dev", "docs/"))
    assert [line for line in result.stdout.splitlines() if len(line) > 120 and str(home.root) not in line] == []
    assert "Delivered  0 records" in result.stdout
    assert "No new events, no changes, nothing published." in result.stdout


def test_run_refuses_a_production_home(home: Home, traithouse: Traithouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAITHOUSE_ENV", "production")
    assert traithouse("run", home=home).exit_code == 2
