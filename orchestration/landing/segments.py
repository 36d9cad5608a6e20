"""Segments: events that came over the network, durable before they are acknowledged, until a refresh lands them.

``segments/<source>/`` in the home holds files of NDJSON. One writer appends to a file called ``*.open``, which it holds
a lock on, and seals it by renaming it to ``*.ndjson``. A refresh lands sealed files and deletes them; the file of a
writer that died is sealed by the next refresh. A crash between landing and deleting lands nothing twice, because
every event of a segment has an id. Appending never touches the warehouse.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import NamedTuple

from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Home, Notify, silent
from orchestration.landing.load import load

LONGEST_LINE = 1_000_000
_SEAL_BYTES = 16_000_000
_SEAL_SECONDS = 1.0
_MOST_WAITING = 10_000
_OPEN, _SEALED = ".open", ".ndjson"


class SegmentError(TraithouseError):
    """What was to be appended is not on the disk; the caller may send it again."""


class _Append(NamedTuple):
    lines: bytes
    done: Future[None]


class SegmentWriter:
    """Appends events of one source; several callers share one write to the disk (group commit).

    Args:
        folder: of the source, such as ``segments/web``.
        seal_bytes: a larger file is sealed.
        seal_seconds: an older file is sealed.

    """

    def __init__(self, folder: Path, *, seal_bytes: int = _SEAL_BYTES, seal_seconds: float = _SEAL_SECONDS) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self._seal_bytes, self._seal_seconds = folder, seal_bytes, seal_seconds
        self._waiting: queue.Queue[_Append | None] = queue.Queue(_MOST_WAITING)
        self._numbers = count(1)
        self._file: int | None = None
        self._path = folder
        self._size, self._opened = 0, 0.0
        self._is_closed = False
        self._thread = threading.Thread(target=self._write_all, daemon=True, name="segments")
        self._thread.start()

    def append(self, events: Sequence[bytes]) -> Future[None]:
        """Adds events, each a JSON object on one line; done when they are on the disk.

        The future raises SegmentError where they are not.

        Raises:
            SegmentError: too much waits already, or the writer is closed.
            ValueError: an event is longer than a line may be, or spans lines.

        """
        for event in events:
            if b"\n" in event or len(event) > LONGEST_LINE:
                raise ValueError("an event is one line of a megabyte at most")
        done: Future[None] = Future()
        if self._is_closed:
            raise SegmentError("The writer of segments is closed.")
        try:
            self._waiting.put_nowait(_Append(b"".join(event + b"\n" for event in events), done))
        except queue.Full:
            raise SegmentError("Too much waits for the disk.", "Send it again later.") from None
        return done

    def close(self) -> None:
        """Writes what waits, and seals the file."""
        self._is_closed = True
        self._waiting.put(None)
        self._thread.join()

    def _write_all(self) -> None:
        while True:
            taken = self._taken()
            if batch := [append for append in taken if append]:
                self._commit(batch)
            is_old = time.monotonic() - self._opened >= self._seal_seconds
            if self._file is not None and (None in taken or is_old or self._size >= self._seal_bytes):
                self._seal(self._file)
            if None in taken:
                break
        for late in self._taken():
            if late:
                late.done.set_exception(SegmentError("The writer of segments is closed."))

    def _taken(self) -> list[_Append | None]:
        """All that waits now; a short wait where nothing does. Only this thread takes."""
        try:
            taken = [self._waiting.get(timeout=self._seal_seconds / 4)]
        except queue.Empty:
            return []
        while not self._waiting.empty():
            taken.append(self._waiting.get_nowait())
        return taken

    def _commit(self, batch: Sequence[_Append]) -> None:
        """Writes a batch, waits for the disk, and tells each caller; of a batch that fails nothing stays."""
        content = memoryview(b"".join(append.lines for append in batch))
        try:
            file = self._file if self._file is not None else self._open()
            written = 0
            while written < len(content):
                written += os.write(file, content[written:])
            os.fdatasync(file)
        except OSError as error:
            self._take_back()
            why = SegmentError(f"The disk refuses: {error.strerror}.", "Free space, or check the disk.")
            for append in batch:
                append.done.set_exception(why)
            return
        self._size += len(content)
        for append in batch:
            append.done.set_result(None)

    def _open(self) -> int:
        self._path = self._folder / f"{time.time_ns():020d}-{os.getpid()}-{next(self._numbers)}{_OPEN}"
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._file, self._size, self._opened = file, 0, time.monotonic()
        _sync_folder(self._folder)
        return file

    def _take_back(self) -> None:
        """Cuts off what a failed write left; a file that cannot even be cut is left to the next refresh."""
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            os.close(self._file)
            self._file = None

    def _seal(self, file: int) -> None:
        os.close(file)
        self._file = None
        _seal_file(self._path)


def drain_segments(home: Home, *, notify: Notify = silent) -> int:
    """Lands all sealed segments, and those of dead writers; returns how many files. Takes the lock of the home.

    A file of which no event can be accepted moves to ``segments/unread/``; raw.rejected_events says why.

    Raises:
        WarehouseBusyError: another process holds the warehouse.

    """
    root = home.root / "segments"
    landed = 0
    for folder in sorted(path for path in root.glob("*") if path.is_dir() and path.name != "unread"):
        for left in sorted(folder.glob(f"*{_OPEN}")):
            _seal_abandoned(left)
        files = sorted(folder.glob(f"*{_SEALED}"))
        if not files:
            continue
        notify(f"landing {len(files)} segments of {folder.name}")
        for path in files:
            try:
                load(home, [path], source=folder.name, notify=notify)
            except UsageError as error:
                (root / "unread").mkdir(exist_ok=True)
                path.rename(root / "unread" / f"{folder.name}-{path.name}")
                notify(f"{path.name} of {folder.name} lies in segments/unread: {error.message}")
                continue
            path.unlink()
            landed += 1
    return landed


def _seal_abandoned(path: Path) -> None:
    """Seals the file of a writer that died; one whose writer lives stays."""
    with path.open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        if not path.exists():  # its writer has sealed it meanwhile
            return
        content = file.read()
        # A line that was cut off was never acknowledged.
        file.truncate(content.rfind(b"\n") + 1)
        os.fsync(file.fileno())
    _seal_file(path)


def _seal_file(path: Path) -> None:
    if path.stat().st_size:
        path.rename(path.with_suffix(_SEALED))
    else:
        path.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
