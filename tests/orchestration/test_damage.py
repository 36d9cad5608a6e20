"""Damaged and foreign files of a home: told with file and remedy, and nothing is changed or left behind."""

import errno
import json
import os
import re
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

from orchestration.damage import file_trouble, served_folder, warehouse_trouble
from orchestration.errors import DamagedFileError, TraithouseError, WarehouseBusyError
from orchestration.home import Home, write_atomically
from orchestration.pipeline.doctor import doctor
from orchestration.pipeline.refresh import refresh
from orchestration.pipeline.status import home_status
from orchestration.publishing.publish import publish
from orchestration.publishing.snapshot import write_snapshot
from orchestration.serving.explain import explain
from orchestration.sync.engine import run_sync
from orchestration.sync.ledger import SyncLedger
from orchestration.transform.dbt import Project
from tests.cache import add_parsed
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


def killed_while_writing(home: Home) -> Path:
    """The log of a process that was killed after its rows were committed, and before they were in the file."""
    code = """if True:
        import duckdb, os, sys
        connection = duckdb.connect(sys.argv[1])
        connection.execute("create table raw.late as from range(1000) as t(n)")
        for number in range(20):
            connection.execute("insert into raw.late from range(1000)")
        os.kill(os.getpid(), 9)
    """
    made_warehouse(home)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, home.warehouse], check=False)
    return home.warehouse.with_name("warehouse.duckdb.wal")


def test_what_a_killed_process_has_committed_is_there(home: Home) -> None:
    assert killed_while_writing(home).stat().st_size > 1000
    assert queried(home, "select count(*) from raw.late") == [(21_000,)]


LOGS: dict[str, Callable[[bytes], bytes]] = {
    "garbage": lambda content: bytes(range(256)) * 40,
    "text": lambda content: b"of another program",
    "zeros": lambda content: bytes(len(content)),
    "of another version": lambda content: content[:5] + b"\x09" + content[6:],
    "changed at its head": lambda content: content[:40] + b"\xff" * 8 + content[48:],
    "changed in its middle": lambda content: content[:9000] + b"\xff" * 8 + content[9008:],
}


@pytest.mark.parametrize("damage", LOGS)
def test_a_damaged_log_is_told_and_kept(home: Home, damage: str) -> None:
    """DuckDB itself passes over some of these without a word."""
    log = killed_while_writing(home)
    log.write_bytes(LOGS[damage](log.read_bytes()))
    before = home.warehouse.read_bytes(), log.read_bytes()
    with pytest.raises(DamagedFileError, match=r"warehouse\.duckdb\.wal is ") as told, home.connect():
        pass
    assert "Move that file away" in told.value.hint
    assert (home.warehouse.read_bytes(), log.read_bytes()) == before
    log.unlink()
    assert queried(home, "select count(*) from raw.rows") == [(100_000,)]


def test_another_programs_database_is_refused_and_kept(home: Home) -> None:
    home.prepare()
    with duckdb.connect(str(home.warehouse)) as connection:
        connection.execute("create table albums as select 1 as n")
    before = home.warehouse.read_bytes()
    with pytest.raises(DamagedFileError, match="another program made it"), home.connect():
        pass
    assert home.warehouse.read_bytes() == before


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


@pytest.mark.parametrize(
    "content",
    ['{"vers', "", "[3]", '{"from": 1}', "\x00", '{"version": true}', '{"version": "3.1"}'],
)
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


@pytest.mark.parametrize("how", ["deleted", "nowhere", "cut", "emptied", "changed"])
def test_who_reads_what_is_served_is_told(sample_home: Home, sample_project: Project, how: str) -> None:
    folder = served_folder(sample_home.serving)
    database = folder / "traithouse.duckdb"
    if how in ("deleted", "nowhere"):
        (sample_home.serving / "current").unlink()
    if how == "nowhere":
        (sample_home.serving / "current").symlink_to("builds/gone")
    content = database.read_bytes()
    if how in ("cut", "emptied"):
        database.write_bytes(content[:20_000] if how == "cut" else b"")
    if how == "changed":
        database.write_bytes(content[:20_000] + bytes(255 - byte for byte in content[20_000:]))
    readers: list[Callable[[], object]] = [lambda: explain(sample_home, sample_project.catalog, "user_0001")]
    if how != "changed":
        readers.append(lambda: run_sync(sample_home, sample_project.catalog, sample_project.catalog.sync("outbox")))
    for reader in readers:
        with pytest.raises(DamagedFileError, match=r"serving/current|The snapshot .* is damaged") as told:
            reader()
        assert "traithouse refresh" in told.value.hint
    assert not sample_home.outbox.exists() or not list(sample_home.outbox.rglob("*.ndjson"))


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


@pytest.mark.parametrize(
    ("number", "words", "hint"),
    [(errno.ENOSPC, "is full", "Free space"), (errno.EROFS, "Read-only", "right"), (errno.EIO, "error", "--home")],
)
def test_errors_of_the_system_have_a_file_and_a_remedy(home: Home, number: int, words: str, hint: str) -> None:
    home.prepare()
    for error in (OSError(number, os.strerror(number)), OSError(number, os.strerror(number), str(home.root / "lock"))):
        told = file_trouble(error, home.root)
        assert str(home.root) in told.message or "/tmp" in told.message
        assert words in told.message
        assert hint in told.hint


def test_a_ledger_that_finds_no_room_says_so(home: Home) -> None:
    def grow() -> None:
        with pytest.raises(TraithouseError, match=r"is full|disk I/O error"), SyncLedger(home) as ledger:
            ledger.note("crm", "paused", "x" * 1_000_000)

    with SyncLedger(home):
        pass
    assert on_a_small_disk(grow, 200_000) == 0
    with SyncLedger(home) as ledger:
        assert ledger.noted("crm", "paused") is None


@pytest.mark.long
@pytest.mark.parametrize("command", ["load", "refresh", "sync", "backup", "forget"])
def test_a_command_on_a_full_disk_says_so_and_goes_well_afterwards(
    sample_home: Home, events_file: Callable[..., Path], command: str
) -> None:
    events = events_file(
        [{"event_id": "n1", "event_name": "home", "occurred_at": "2024-06-30", "user_id": "user_0001"}]
    )
    arguments = {"load": [str(events)], "forget": ["user_0001"], "sync": ["outbox"]}
    call = [
        sys.executable,
        "-m",
        "orchestration",
        command,
        *arguments.get(command, []),
        "--home",
        str(sample_home.root),
    ]

    def no_file_grows() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    full = subprocess.run(call, preexec_fn=no_file_grows, capture_output=True, text=True)
    assert full.returncode == 1, full.stdout + full.stderr
    (sentence,) = (line for line in full.stderr.splitlines() if line.startswith("Error: "))
    assert re.search(r"The disk of .* is full|disk I/O error", sentence), full.stderr
    assert "Traceback" not in full.stderr
    assert list(sample_home.root.rglob(".*")) == []
    again = subprocess.run(call, capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr


# Root without the right to write what it may not write.
AS_OTHERS = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.getuid() == 0 else []


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["status"], 0, "Served build"),
        (["explain", "user_0001"], 0, "power_user"),
        (["sync"], 1, "sync.lock: Permission denied"),
        (["refresh"], 1, "lease: Permission denied"),
        (["backup"], 1, "lock: Permission denied"),
    ],
)
def test_a_home_that_may_only_be_read_is_told(sample_home: Home, command: list[str], code: int, words: str) -> None:
    _ = Project(sample_home).catalog
    every = [path for path in (sample_home.root, *sample_home.root.rglob("*")) if not path.is_symlink()]
    modes = {path: path.stat().st_mode for path in every}
    for path in every:
        path.chmod(0o555 if path.is_dir() else 0o444)
    call = [*AS_OTHERS, sys.executable, "-m", "orchestration", *command, "--home", str(sample_home.root)]
    done = subprocess.run(call, capture_output=True, text=True)
    for path, mode in modes.items():
        path.chmod(mode)
    said = " ".join((done.stdout + done.stderr).split())
    assert (done.returncode, "Traceback" in said) == (code, False), said
    assert words in said
    assert code == 0 or "the right to read and write" in said


def test_a_damaged_file_of_the_snapshot_is_told_and_written_again(sample_home: Home, sample_project: Project) -> None:
    for name in ("trait_values/*.parquet", "traithouse.duckdb"):
        folder = served_folder(sample_home.serving)
        path = next(folder.glob(name))
        content, middle = path.read_bytes(), path.stat().st_size // 2
        path.write_bytes(content[:middle] + bytes(255 - byte for byte in content[middle:]))
        # Where the bytes keep DuckDB from opening the database, the whole snapshot is named.
        told = [words for words in doctor(sample_project)["problems"] if "is damaged" in words]
        assert [str(path) in words or f"snapshot {folder} " in words for words in told] == [True]
        publish(sample_project)
        assert not any("is damaged" in words for words in doctor(sample_project)["problems"])
    assert served(sample_home, "select count(*) from traits.trait_values") == [(5400,)]


def test_doctor_goes_on_without_each_broken_part(sample_home: Home, sample_project: Project) -> None:
    sample_home.warehouse.write_bytes(b"")
    sample_home.sync_ledger.write_bytes(b"no ledger" * 500)
    problems = doctor(sample_project)["problems"]
    for name in ("warehouse.duckdb is no DuckDB database", sample_home.sync_ledger.name):
        assert len([words for words in problems if name in words]) == 1


@pytest.mark.long
def test_a_damaged_manifest_is_made_again(home: Home) -> None:
    add_parsed(home)
    expected = Project(home).manifest_dict["nodes"].keys()
    (kept,) = home.dbt_target.glob("manifest-*.json")
    for content in ("{", "{}", ""):
        kept.write_text(content)
        assert Project(home).manifest_dict["nodes"].keys() == expected


def test_a_write_that_is_refused_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="there"):
        write_atomically(tmp_path / "there", json.dumps({}))
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
