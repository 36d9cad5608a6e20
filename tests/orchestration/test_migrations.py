"""A home of version 2 becomes one of this version when it is opened, whatever interrupts that."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import duckdb
import pytest
from filelock import FileLock

from orchestration.errors import WarehouseBusyError
from orchestration.home import HOME_VERSION, RESTORE_INTENT, Home, Settings
from tests.children import in_child
from tests.conftest import queried
from tests.homes import unpack_home

LEDGER = "from traits.trait_changes order by seq"
# (new, old) names of what was renamed, with a query of the same rows by each.
RENAMED = {
    "from traits.waivers order by all": "from traits.acceptances order by all",
    "select trait, as_of, definition_version, publishable from state.backfilled_days order by all": (
        "select trait, as_of, definition_version, told from state.backfilled_days order by all"
    ),
    LEDGER: LEDGER.replace("from", "select * replace (if(cause = 'accepted', 'waived', cause) as cause) from", 1),
}
KEPT = (
    "from traits.trait_values order by all",
    "from traits.trait_thresholds order by all",
    "from traits.gate_verdicts order by all",
    "select trait, grade, grade_reason from traits.trait_catalog order by all",
    "from traits.builds order by all",
    "from raw.events order by event_id",
)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of version 2, without what dbt made, so that it is small; copy it."""
    home = unpack_home(2, tmp_path_factory.mktemp("earlier") / "home")
    shutil.rmtree(home / "serving")
    shrink(home / "warehouse.duckdb")
    (home / "sandbox").mkdir()
    (home / "sandbox" / "events.ndjson").write_text("{}\n")
    return home


@pytest.fixture
def earlier(unpacked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(unpacked, tmp_path / "home", symlinks=True))


def opened(root: Path) -> Home:
    return Home(Settings(home=root))


def shrink(warehouse: Path) -> None:
    """Keeps the tables of the schemas that the migration reads, and raw."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{warehouse}' as whole (read_only); attach '{warehouse}.small' as small")
        kept = connection.execute(
            """
            select schema_name, table_name from duckdb_tables()
            where database_name = 'whole' and schema_name in ('traits', 'state', 'raw')
            """
        ).fetchall()
        for schema, table in kept:
            connection.execute(f"create schema if not exists small.{schema}")
            connection.execute(f"create table small.{schema}.{table} as from whole.{schema}.{table}")
    warehouse.with_name(f"{warehouse.name}.small").replace(warehouse)


def rows_before(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What a home of version 2 holds, by the query that finds it in a home of this version."""
    with duckdb.connect(str(root / "warehouse.duckdb"), read_only=True) as connection:
        found = {new: connection.execute(old).fetchall() for new, old in RENAMED.items()}
        return found | {query: connection.execute(query).fetchall() for query in KEPT}


def sync_ledger(root: Path) -> list[str]:
    with sqlite3.connect(root / "sync_ledger.development.sqlite") as connection:
        return list(connection.iterdump())


def assert_migrated(
    root: Path, before: dict[str, list[tuple[Any, ...]]], contacts: bytes, deliveries: list[str]
) -> None:
    home = opened(root)
    assert {query: queried(home, query) for query in before} == before
    assert json.loads((root / "home.json").read_text()) == {"version": HOME_VERSION}
    assert (root / "contacts.parquet").read_bytes() == contacts
    assert json.loads((root / "contacts.json").read_text()) == [["user", "consent"], ["user", "email"]]
    assert (root / "simulation" / "events.ndjson").exists()
    assert [name for name in ("people.parquet", "people.json", "sandbox") if (root / name).exists()] == []
    assert sync_ledger(root) == deliveries


def test_ledger_waivers_deliveries_and_grades_stay_under_their_new_names(earlier: Path) -> None:
    before, contacts, deliveries = rows_before(earlier), (earlier / "people.parquet").read_bytes(), sync_ledger(earlier)
    assert {row[-1] for row in before[LEDGER]} == {"behaviour", "backfill", "rollback", "waived"}
    assert len(before["from traits.waivers order by all"]) == 1
    opened(earlier).prepare()
    assert_migrated(earlier, before, contacts, deliveries)
    marker = (earlier / "home.json").stat().st_mtime_ns
    opened(earlier).prepare()
    assert (earlier / "home.json").stat().st_mtime_ns == marker


@pytest.mark.long
def test_a_migration_that_is_killed_anywhere_is_finished_by_the_next_one(earlier: Path, tmp_path: Path) -> None:
    """Killed before each line that it executes; earlier versions refuse the home from the first change on."""
    before, contacts, deliveries = rows_before(earlier), (earlier / "people.parquet").read_bytes(), sync_ledger(earlier)
    lines = count_lines(Path(shutil.copytree(earlier, tmp_path / "counted", symlinks=True)))
    assert lines > 30
    for number in range(1, lines + 1):
        root = Path(shutil.copytree(earlier, tmp_path / f"killed_{number}", symlinks=True))
        status = in_child(lambda root=root, number=number: prepare_traced(root, number))  # type: ignore[misc]
        assert os.WTERMSIG(status) == signal.SIGKILL
        if (root / "contacts.parquet").exists() or "waivers" in tables(root):
            assert json.loads((root / "home.json").read_text())["version"] == HOME_VERSION
        opened(root).prepare()
        assert_migrated(root, before, contacts, deliveries)
        shutil.rmtree(root)


def test_a_home_that_another_process_holds_is_migrated_later(earlier: Path) -> None:
    with FileLock(earlier / "lock"):
        status = in_child(lambda: prepare_busy(earlier))
    assert status == 0
    opened(earlier).prepare()
    assert json.loads((earlier / "home.json").read_text()) == {"version": HOME_VERSION}


def test_a_restore_that_was_cut_off_is_finished_before_the_home_is_migrated(earlier: Path) -> None:
    (earlier / RESTORE_INTENT).write_text("{}")
    opened(earlier).prepare()
    assert json.loads((earlier / "home.json").read_text()) == {"version": 2}
    (earlier / RESTORE_INTENT).unlink()
    opened(earlier).prepare()
    assert "waivers" in tables(earlier)


def test_a_new_home_has_nothing_to_migrate(home: Home) -> None:
    home.prepare()
    assert not home.warehouse.exists()
    assert json.loads((home.root / "home.json").read_text()) == {"version": HOME_VERSION}


def tables(root: Path) -> set[str]:
    with duckdb.connect(str(root / "warehouse.duckdb"), read_only=True) as connection:
        return {name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()}


def prepare_busy(root: Path) -> None:
    with pytest.raises(WarehouseBusyError, match="The warehouse is busy"):
        Home(Settings(home=root, lock_wait_seconds=0.1)).prepare()


def count_lines(root: Path) -> int:
    """Lines that the migration of a home executes."""
    counted = root.with_name("lines")
    assert in_child(lambda: counted.write_text(str(prepare_traced(root, None)))) == 0
    return int(counted.read_text())


def prepare_traced(root: Path, kill_at: int | None) -> int:
    """Opens a home and counts the lines of its migration; kills this process before one of them."""
    lines = 0

    def traced(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        code = frame.f_code
        if code.co_name not in ("_migrate", "migrate", "_rename_in_warehouse", "write_atomically"):
            return None
        if event == "line":
            lines += 1
            if lines == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return traced

    home = opened(root)
    sys.settrace(traced)
    home.prepare()
    sys.settrace(None)
    return lines
