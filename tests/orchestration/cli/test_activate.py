"""Syncs from the command line."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from orchestration.cli import activate
from orchestration.cli.app import Call
from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.home import Home
from orchestration.sync import deliver
from orchestration.sync.report import SyncReport
from orchestration.transform.dbt import Project

Traithouse = Callable[..., Result]


def test_a_failed_delivery_is_exit_code_4(
    sample_home: Home, traithouse: Traithouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "FIRST_BACKOFF_SECONDS", 0.001)
    sample_home.outbox.write_text("a file where the folder should be")
    result = traithouse("sync", home=sample_home)
    assert result.exit_code == 4
    assert "600 failed" in result.stdout
    sample_home.outbox.unlink()
    assert traithouse("sync", home=sample_home).exit_code == 0


def test_a_sync_that_breaks_off_holds_up_no_other_and_quotes_nothing(
    sample_home: Home, sample_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = activate.run_sync

    def one_breaks(home: Home, catalog: Catalog, sync: Sync, **given: Any) -> SyncReport:
        if sync.name == "first":
            raise TypeError("unsupported operand: 'a secret'")
        return run(home, catalog, sync, **given)

    monkeypatch.setattr(activate, "run_sync", one_breaks)
    (sync,) = sample_project.catalog.syncs
    call = Call(sample_home.root, None, True, False)
    call.project = sample_project
    first, second = activate.sync_each(call, [sync.model_copy(update={"name": "first"}), sync])
    assert first.error.startswith("it broke off with TypeError (test_activate.py, line ")
    assert "secret" not in repr(first)
    assert (second.error, second.delivered) == ("", 600)
