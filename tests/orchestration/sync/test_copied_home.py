"""A copy of a home reads and refreshes, and delivers to remote destinations only once it has taken over."""

import shutil
from pathlib import Path

import pytest

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.pipeline.status import home_status
from orchestration.sync.copied_home import copied_from, refuse_copied_home
from orchestration.sync.engine import run_sync, take_over
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.tables import copy_tables
from orchestration.transform.dbt import Project
from tests.orchestration.sync.conftest import Receiver, webhook
from tests.orchestration.sync.test_tables import WAREHOUSE


def in_production(home: Home, folder: Path) -> Home:
    return Home(home.settings.model_copy(update={"env": "production", "home": folder}))


def original_of(home: Home, ledger_of: Home) -> str | None:
    with SyncLedger(ledger_of) as ledger:
        return copied_from(home, ledger)


@pytest.fixture
def original(home: Home) -> Home:
    """A home that has delivered in production."""
    made = in_production(home, home.root)
    assert original_of(made, made) is None
    return made


def test_a_copy_is_known_and_says_what_to_do(original: Home, tmp_path: Path) -> None:
    shutil.copytree(original.root, tmp_path / "copy")
    copy = in_production(original, tmp_path / "copy")
    assert original_of(copy, copy) == str(original.root)
    assert original_of(original, original) is None
    with SyncLedger(copy) as ledger, pytest.raises(UsageError, match=f"is a copy of {original.root}") as told:
        refuse_copied_home(copy, ledger, "models/syncs/crm.yml: crm")
    assert "traithouse sync --take-over" in told.value.hint
    (words,) = home_status(copy)["broken"]
    assert "is a copy of" in words
    assert "--take-over" in words
    take_over(copy)
    assert home_status(copy)["broken"] == []
    assert home_status(original)["broken"] == []


def test_a_home_that_was_renamed_or_written_anew_in_place_is_the_same(original: Home, tmp_path: Path) -> None:
    moved = in_production(original, tmp_path / "elsewhere")
    original.root.rename(moved.root)
    assert original_of(moved, moved) is None
    (tmp_path / "link").symlink_to(moved.root)
    linked = in_production(original, tmp_path / "link")
    assert original_of(linked, linked) is None


def test_a_copy_in_the_place_of_its_original_is_a_copy(original: Home, tmp_path: Path) -> None:
    original.root.rename(tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", original.root)
    assert original_of(original, original) == str(original.root)


def test_only_remote_deliveries_of_a_copy_are_held(
    sample_home: Home, sample_project: Project, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BI_URL", f"sqlite:///{tmp_path / 'bi.sqlite'}")
    original = in_production(sample_home, sample_home.root)
    catalog = sample_project.catalog
    assert original_of(original, original) is None
    shutil.copytree(original.root, tmp_path / "copy", symlinks=True)
    copy = in_production(original, tmp_path / "copy")
    with pytest.raises(UsageError, match="is a copy of"):
        run_sync(copy, catalog, webhook())
    with pytest.raises(UsageError, match="is a copy of"):
        copy_tables(copy, catalog, WAREHOUSE)
    assert receiver.messages == []
    assert run_sync(copy, catalog, webhook(), dry_run=True).planned
    assert run_sync(copy, catalog, catalog.sync("outbox")).delivered == 600
    take_over(copy)
    assert run_sync(copy, catalog, webhook()).delivered == len(receiver.ids) > 0
