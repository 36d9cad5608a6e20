"""Damaged and foreign files of a home: told with file and remedy, and nothing is changed or left behind."""

import json
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from orchestration.damage import warehouse_trouble
from orchestration.errors import DamagedFileError, TraithouseError, WarehouseBusyError
from orchestration.home import Home, write_atomically
from orchestration.pipeline.refresh import refresh
from orchestration.pipeline.status import home_status
from orchestration.publishing.snapshot import write_snapshot
from orchestration.sync.ledger import SyncLedger
from orchestration.transform.dbt import Project
from tests.children import in_child
from tests.conftest import NOW, queried, served


def made_warehouse(home: Home) -> bytes:
    """A warehouse with rows in it."""
    with home.connect() as connection:
        connection.execute(
            "create schema raw; create table raw.rows as from range(100000) as t(n), (select hash(1) as h)"
        )
    return home.warehouse.read_bytes()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "no DuckDB database: it is another": lambda content: b"not a database" * 1000,
    "no DuckDB database: it is another program": lambda content: b"SQLite format 3\x00" + bytes(8000),
    "no DuckDB database: it is empty": lambda content: b"",
    "no DuckDB database: it is cut off": lambda content: content[:10],
    "warehouse.duckdb is damaged": lambda content: content[:13_000],
    "duckdb is damaged: .*checksum": lambda content: content[:4100] + b"\xff" * 8 + content[4108:],
}


@pytest.mark.parametrize("words", DAMAGE)
def test_a_damaged_warehouse_is_told_as_such_and_kept(home: Home, words: str) -> None:
    home.warehouse.write_bytes(DAMAGE[words](made_warehouse(home)))
    before = home.warehouse.read_bytes()
    with pytest.raises(DamagedFileError, match=words) as told, home.connect():
        pass
    assert str(home.warehouse) in told.value.message
    assert "traithouse restore BACKUP" in told.value.hint
    assert home.warehouse.read_bytes() == before


def test_damage_that_a_query_finds_is_told_too(home: Home) -> None:
    content = bytearray(made_warehouse(home))
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(255 - byte for byte in content[middle : middle + 8])
    home.warehouse.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"warehouse\.duckdb is damaged"), home.connect() as connection:
        connection.execute("select sum(n), max(h) from raw.rows").fetchall()


def test_a_folder_and_a_link_to_nowhere_are_no_warehouse(home: Home) -> None:
    home.prepare()
    home.warehouse.mkdir()
    with pytest.raises(DamagedFileError, match="is a folder"), home.connect():
        pass
    home.warehouse.rmdir()
    home.warehouse.symlink_to(home.root / "disk" / "warehouse.duckdb")
    with pytest.raises(DamagedFileError, match="which is not there"), home.connect():
        pass


def test_only_a_lock_of_another_process_is_busy(home: Home) -> None:
    made_warehouse(home)
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, home.warehouse], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(WarehouseBusyError, match="another program has the file"), home.connect():
            pass
        process.communicate(b"\n")
    with home.connect() as connection, pytest.raises(duckdb.IOException, match="No files found"):
        connection.execute("from read_csv('locked by nobody.csv')")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("IO Error: Trying to read a database file with version number 99, but we can only read 64", "another version"),
        ('IO Error: Cannot open file "{path}": Permission denied', "cannot be opened"),
        ('IO Error: Could not write file "{path}": No space left on device', "disk of .* is full"),
    ],
)
def test_other_troubles_have_a_sentence(home: Home, said: str, words: str) -> None:
    """Messages of DuckDB that a test cannot bring about everywhere."""
    named = said.format(path=home.warehouse) if "{path}" in said else f"{said} {home.warehouse}"
    told = warehouse_trouble(home.warehouse, duckdb.IOException(named))
    assert told is not None
    assert told.hint
    with pytest.raises(TraithouseError, match=words):
        raise told


@pytest.mark.parametrize("content", ['{"vers', "", "[3]", '{"from": 1}', "\x00\x00"])
def test_a_damaged_home_json_is_told(home: Home, content: str) -> None:
    home.prepare()
    (home.root / "home.json").write_text(content)
    with pytest.raises(DamagedFileError, match=r"home\.json is damaged") as told:
        home.prepare()
    assert '{"version": 3}' in told.value.hint
    assert (home.root / "home.json").read_text() == content


def foreign(path: Path) -> None:
    """A SQLite file of another program."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table tracks (name text)")


LEDGERS: dict[str, Callable[[Path], object]] = {
    "damaged, or no ledger": lambda path: path.write_bytes(b"no ledger" * 500),
    "another program made it": foreign,
    "is a folder": Path.mkdir,
}


@pytest.mark.parametrize("words", LEDGERS)
def test_a_damaged_ledger_is_told_and_status_goes_on(home: Home, words: str) -> None:
    home.prepare()
    home.note(counts={"users": 3})
    LEDGERS[words](home.sync_ledger)
    before = home.sync_ledger.read_bytes() if home.sync_ledger.is_file() else None
    with pytest.raises(DamagedFileError, match=words) as told:
        SyncLedger(home)
    assert str(home.sync_ledger) in told.value.message
    status = home_status(home)
    assert status["counts"] == {"users": 3}
    assert [words in sentence for sentence in status["broken"]] == [True]
    assert before is None or home.sync_ledger.read_bytes() == before


def test_status_goes_on_without_each_broken_part(sample_home: Home) -> None:
    assert home_status(sample_home)["broken"] == []
    traits = home_status(sample_home)["traits"]
    sample_home.warehouse.write_bytes(b"")
    sample_home.sync_ledger.write_bytes(b"no ledger" * 500)
    (sample_home.root / "home.json").write_text("{")
    status = home_status(sample_home)
    assert status["traits"] == traits
    for name in ("home.json", "warehouse.duckdb"):
        assert any(name in words for words in status["broken"]), name
    (sample_home.root / "home.json").write_text('{"version": 3}')
    (sample_home.serving / "current" / "traithouse.duckdb").resolve().write_bytes(b"cut")
    (sample_home.root / "status.json").write_text("{")
    status = home_status(sample_home)
    assert (status["traits"], status["served_build"]) == ([], None)
    for name in ("warehouse.duckdb", sample_home.sync_ledger.name, "serving/builds", "status.json"):
        assert any(name in words for words in status["broken"]), name


@pytest.mark.long
@pytest.mark.parametrize("how", ["deleted", "nowhere", "copied"])
def test_a_lost_link_is_told_and_a_refresh_makes_it_again(
    sample_home: Home, sample_project: Project, tmp_path: Path, how: str
) -> None:
    home, project = sample_home, sample_project
    current = home.serving / "current"
    if how == "copied":
        moved = tmp_path / "moved"
        shutil.copytree(home.root, moved, symlinks=True)
        shutil.rmtree(home.root)
        home = Home(home.settings.model_copy(update={"home": moved}))
        assert home_status(home)["broken"] == []
        assert refresh(project.replace(home), now=NOW)[1].published is False
        return
    current.unlink()
    if how == "nowhere":
        current.symlink_to("builds/gone")
    (words,) = home_status(home)["broken"]
    assert str(current) in words
    assert "traithouse refresh writes another" in words
    refresh(project, now=NOW)
    assert home_status(home)["broken"] == []
    assert served(home, "select count(*) from traits.trait_values") == [(5400,)]


def on_a_small_disk(work: Callable[[], object], largest: int) -> int:
    """Runs it in a child where no file may grow beyond so many bytes; how the child ended."""

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        work()

    return in_child(limited)


def test_a_full_disk_leaves_no_drafts_and_the_old_file(home: Home) -> None:
    home.note(counts=1)

    def grow() -> None:
        with pytest.raises(OSError, match="too large"):
            home.note(counts="x" * 100_000)

    assert on_a_small_disk(grow, 50_000) == 0
    assert home.status() == {"counts": 1}
    assert list(home.root.glob(".*")) == []


def test_a_snapshot_that_does_not_fit_leaves_the_last_one_alone(sample_home: Home) -> None:
    (build_id,) = queried(sample_home, "select max(build_id) from traits.builds")[0]
    before = (sample_home.serving / "current").readlink()

    def write() -> None:
        with pytest.raises((TraithouseError, duckdb.Error, OSError)), sample_home.connect() as connection:
            write_snapshot(sample_home, connection, build_id)

    assert on_a_small_disk(write, 300_000) == 0
    assert (sample_home.serving / "current").readlink() == before
    assert list((sample_home.serving / "builds").glob(".*")) == []
    assert queried(sample_home, "select count(*) from traits.trait_values") == [(5400,)]


def test_a_write_that_is_refused_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="there"):
        write_atomically(tmp_path / "there", json.dumps({}))
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
