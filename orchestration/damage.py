"""What is wrong with a file of the home that cannot be opened: one sentence that names it, and what to do.

DuckDB and SQLite tell kinds of trouble apart by the words of their messages only. *Busy* is said only where another
process holds a lock. Nothing here changes a file.
"""

from __future__ import annotations

import errno
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path

import duckdb

from orchestration.errors import DamagedFileError, TraithouseError, UsageError, WarehouseBusyError

_RESTORE = (
    "traithouse restore BACKUP --force puts a backup in its place and keeps the file aside."
    " Without a backup, move the file away and load the events again."
)
_RIGHTS = "Give your user the right to read and write it, or use another home (--home)."
_DISK = "Look whether its disk is full or damaged, then run it again; what was written before is kept."
_FREE_SPACE = "Free space on it, then run it again; what was written before is kept."
WRITES_ANOTHER = "traithouse refresh writes another."
_LEDGER = "Move the file away, or take it from a backup. Without it, the next traithouse sync sends every record again."
_LOG = (
    "Move that file away: what was written to the warehouse after its last checkpoint is not in it then, so load the"
    " newest files again (an event that is there already counts once). Or restore a backup: traithouse restore BACKUP."
)
# The first entry of a log names the version that it is written in.
_LOG_HEADS = (b"\x64\x00\x62\x65\x00\x02", b"\x64\x00\x62\x65\x00\x03")
_OUR_SCHEMAS = {"raw", "state", "traits"}
_CUT = re.compile(r"could not read enough bytes|corrupt|checksum|deserializ|replaying wal|not a valid duckdb", re.I)
_OTHER_VERSION = re.compile(r"version number|storage version|(newer|older) version", re.I)
_DENIED = re.compile(r"permission denied|read-only file system|operation not permitted", re.I)
_FULL = re.compile(r"no space left|file too large|disk quota|disk is full|database or disk is full", re.I)


def refuse_foreign(path: Path) -> None:
    """Looks at a warehouse before DuckDB does, which would take an extension from the network for another's file.

    Raises:
        DamagedFileError: it is a folder, a link that points nowhere, or no DuckDB database.
        TraithouseError: this user may not read it.

    """
    if path.is_symlink() and not path.exists():
        raise DamagedFileError(
            f"{path} is a link to {path.readlink()}, which is not there.",
            "Bring that file back, or delete the link and restore a backup: traithouse restore BACKUP.",
        )
    if not path.exists():
        return
    if path.is_dir():
        raise DamagedFileError(f"{path} is a folder, where the file of the warehouse should be.", _RESTORE)
    try:
        with path.open("rb") as stream:
            head = stream.read(12)
    except OSError as error:
        raise TraithouseError(f"{path} cannot be read: {error.strerror}.", _RIGHTS) from None
    if head[8:] != b"DUCK":
        what = "empty" if not head else "cut off" if len(head) < 12 else "another program's file"
        raise DamagedFileError(f"{path} is no DuckDB database: it is {what}.", _RESTORE)
    _refuse_damaged_log(path.with_name(f"{path.name}.wal"))


def _refuse_damaged_log(log: Path) -> None:
    """Refuses a log that DuckDB would pass over without a word, though a process that was killed had written to it."""
    try:
        with log.open("rb") as stream:
            head = stream.read(len(_LOG_HEADS[0]))
    except FileNotFoundError:
        return
    except OSError as error:
        raise TraithouseError(f"{log} cannot be read: {error.strerror}.", _RIGHTS) from None
    if head and head not in _LOG_HEADS:
        raise DamagedFileError(f"{log} is no log of a DuckDB database, or damaged.", _LOG)


def refuse_foreign_tables(path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Refuses another program's database before tables of ours are made in it.

    Raises:
        DamagedFileError: it holds tables, and none of a home.

    """
    schemas = {name for (name,) in connection.execute("select schema_name from duckdb_tables()").fetchall()}
    if schemas and not schemas & _OUR_SCHEMAS:
        raise DamagedFileError(f"{path} is no warehouse of Traithouse: another program made it.", _RESTORE)


def file_trouble(error: OSError, home: Path) -> TraithouseError:
    """What an error of the operating system says, with the file that it is about, or the folder that is full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        places = [Path(error.filename).parent] if error.filename else [home, Path(tempfile.gettempdir())]
        full = min((place for place in places if place.exists()), key=lambda place: shutil.disk_usage(place).free)
        return TraithouseError(f"The disk of {full} is full: {error.strerror}.", _FREE_SPACE)
    where = f"{error.filename or home}: {error.strerror or error}."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return TraithouseError(where, _RIGHTS)
    return TraithouseError(where, "Check the path (--home).")


def warehouse_trouble(path: Path, error: duckdb.Error) -> TraithouseError | None:
    """What an error of DuckDB says about the file of a database; nothing where it is about something else."""
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if _FULL.search(said):
        return TraithouseError(f"The disk of {path.parent} is full: {said}", _FREE_SPACE)
    if str(path) not in said and "Corrupt database file" not in said:
        return None
    if "Could not set lock" in said:
        return WarehouseBusyError(
            "The warehouse is busy: another program has the file warehouse.duckdb open.",
            "Close it there; to read traits, open serving/current/traithouse.duckdb instead.",
        )
    if _OTHER_VERSION.search(said):
        return DamagedFileError(
            f"{path} was written by another version of DuckDB: {said}",
            f"Install that version of DuckDB. Or: {_RESTORE}",
        )
    if (log := path.with_name(f"{path.name}.wal")).exists() and str(log) in said:
        return DamagedFileError(f"{log} is damaged, or of another warehouse: {said}", _LOG)
    if _CUT.search(said):
        return DamagedFileError(f"{path} is damaged: {said}", _RESTORE)
    if _DENIED.search(said):
        return TraithouseError(f"{path} cannot be opened: {said}", _RIGHTS)
    return None


def link_trouble(serving: Path) -> str | None:
    """Why readers find no snapshot although something was published, in words; nothing when the link is there."""
    current, builds = serving / "current", serving / "builds"
    if current.exists() or (not current.is_symlink() and not (builds.is_dir() and any(builds.iterdir()))):
        return None
    if current.is_symlink():
        return f"{current} points to {current.readlink()}, which is not there, so nothing is served."
    return f"{current} is missing, so nothing is served."


def served_folder(serving: Path) -> Path:
    """The folder of the snapshot; resolve it once, so that a publish meanwhile cannot mix two builds.

    Raises:
        UsageError: nothing is published yet.
        DamagedFileError: the link to the snapshot was lost, or the snapshot is damaged.

    """
    if words := link_trouble(serving):
        raise DamagedFileError(words, WRITES_ANOTHER)
    if not (serving / "current").exists():
        raise UsageError("Nothing is published yet.", "traithouse refresh publishes what passes its gate.")
    folder = (serving / "current").resolve()
    try:
        if not (folder / "traithouse.duckdb").exists():
            raise DamagedFileError("", "")
        refuse_foreign(folder / "traithouse.duckdb")
        duckdb.connect(str(folder / "traithouse.duckdb"), read_only=True).close()
    except (duckdb.Error, DamagedFileError):
        raise DamagedFileError(f"The snapshot {folder} is damaged, so nothing is served.", WRITES_ANOTHER) from None
    return folder


def is_damage(error: duckdb.Error) -> bool:
    """Whether an error says that what was read of a file cannot be right."""
    return bool(_CUT.search(str(error)))


def refuse_foreign_ledger(path: Path, connection: sqlite3.Connection) -> None:
    """Refuses another program's database before tables of ours are made in it.

    Raises:
        DamagedFileError: it holds tables, and none of a sync ledger.

    """
    tables = {name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
    if tables and not tables & {"sent", "acknowledged"}:
        connection.close()
        raise DamagedFileError(f"{path} is no sync ledger: another program made it.", _LEDGER)


def ledger_trouble(path: Path, error: sqlite3.Error) -> TraithouseError:
    """What an error of SQLite says about a sync ledger."""
    said = str(error)
    if "locked" in said:
        return WarehouseBusyError(
            f"The sync ledger {path} is busy: another process writes it.", "Wait, then try again."
        )
    if _FULL.search(said):
        return TraithouseError(f"The disk of {path.parent} is full: {said}.", _FREE_SPACE)
    if "disk I/O error" in said:
        return TraithouseError(f"The sync ledger {path} cannot be read or written: {said}.", _DISK)
    if path.is_dir():
        return DamagedFileError(f"{path} is a folder, where the file of the sync ledger should be.", _LEDGER)
    if "readonly" in said or "unable to open" in said:
        return TraithouseError(f"The sync ledger {path} cannot be opened: {said}.", _RIGHTS)
    return DamagedFileError(f"The sync ledger {path} is damaged, or no ledger: {said}.", _LEDGER)
