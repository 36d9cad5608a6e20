"""What command-line runs did, kept for Dagster: ``dagster/outbox.ndjson`` in the home, one event a line, append-only.

Writing a line takes microseconds and no Dagster; defs/reporting.py reports the lines to Dagster's instance when it is
there. The outbox is bounded: of a home that never opens Dagster the oldest events are dropped.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

from orchestration.home import Home
from orchestration.pipeline.asset_events import AssetEvent, Checked, Materialized

OUTBOX = "outbox.ndjson"
# A refresh is about 150 kB, so this is some weeks of daily refreshes; twice as much is kept at most.
MOST_BYTES = 8_000_000
_KINDS = {"materialized": Materialized, "checked": Checked}


def dagster_folder(home: Home) -> Path:
    """Dagster's folder in the home; makes it."""
    home.prepare()
    folder = home.root / "dagster"
    folder.mkdir(exist_ok=True)
    return folder


def append(home: Home, events: Iterable[AssetEvent], *, most_bytes: int = MOST_BYTES) -> None:
    """Adds events, with the time of now (``recorded_at``, seconds since 1970)."""
    now = time.time()
    lines = [_line(event, now) for event in events]
    folder = dagster_folder(home)
    with _held(folder), (folder / OUTBOX).open("a+b") as outbox:
        size = outbox.seek(0, os.SEEK_END)
        if size:
            # A killed process may have left half a line.
            outbox.seek(-1, os.SEEK_END)
            lines = lines if outbox.read(1) == b"\n" else ["\n", *lines]
        outbox.write("".join(lines).encode())
        outbox.flush()
        if outbox.tell() > most_bytes:
            kept = _set_aside(folder)
            for older in segments(folder):
                if older != kept:
                    older.unlink(missing_ok=True)


def set_aside(home: Home) -> list[Path]:
    """Moves the outbox out of the way of those who append; all that wait to be reported, oldest first."""
    folder = dagster_folder(home)
    with _held(folder):
        if (folder / OUTBOX).exists():
            _set_aside(folder)
    return segments(folder)


def segments(folder: Path) -> list[Path]:
    """Parts of the outbox that were set aside, oldest first."""
    return sorted(folder.glob("outbox-*.ndjson"))


def read(segment: Path) -> list[tuple[AssetEvent, float]]:
    """Events of a part and when they were recorded; half a line, or one of another version, is left out."""
    found = []
    for line in segment.read_bytes().splitlines():
        try:
            row = json.loads(line)
            kind, recorded_at = _KINDS[row.pop("kind")], float(row.pop("recorded_at"))
            found.append((kind(**(row | {"asset": tuple(row["asset"])})), recorded_at))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _line(event: AssetEvent, now: float) -> str:
    kind = "materialized" if isinstance(event, Materialized) else "checked"
    return json.dumps({"kind": kind, "recorded_at": now, **asdict(event)}, default=str) + "\n"


def _set_aside(folder: Path) -> Path:
    # Wall clocks may repeat; names may not.
    numbers = [int(path.stem.removeprefix("outbox-")) for path in segments(folder)]
    aside = folder / f"outbox-{max([time.time_ns(), *(number + 1 for number in numbers)]):020d}.ndjson"
    (folder / OUTBOX).rename(aside)
    return aside


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Nobody appends while the file is moved."""
    with FileLock(folder / "outbox.lock", timeout=10):
        yield
