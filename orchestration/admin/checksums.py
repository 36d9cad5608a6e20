"""What makes a folder a whole backup: ``backup.json`` with the SHA-256 of each file, written last."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path

from orchestration.errors import UsageError
from orchestration.home import read_json, utc_now, write_atomically

CHECKSUMS = "backup.json"
# The only link that a backup has.
_SERVED = Path("serving/current")
_ANOTHER = "Restore another backup."
# Files that appear when a backup is opened as a home; they are no part of it.
_NO_PART = (CHECKSUMS, "lock", "lock.json", "lease", "lease.json")


def write_checksums(folder: Path, made_at: datetime | None = None) -> None:
    """Writes the checksum of every file of a backup; a backup that had checksums before keeps its date."""
    known = read_json(folder / CHECKSUMS).get("made_at")
    content = {"made_at": known or str(made_at or utc_now()), "files": _checksums(folder)}
    write_atomically(folder / CHECKSUMS, json.dumps(content, indent=1))


def verify_checksums(folder: Path) -> None:
    """Compares the files of a backup with its checksums, and refuses what may lead out of it.

    Raises:
        UsageError: it is no backup; a file was changed, is missing or was added since; it holds a link other than that
            to its snapshot, or something that is neither file nor folder.

    """
    expected = read_json(folder / CHECKSUMS).get("files")
    if not isinstance(expected, dict):
        raise UsageError(f"{folder} is no backup.", "Name the folder of a backup; traithouse backup makes one.")
    _refuse_links(folder)
    found = _checksums(folder)
    if found != expected:
        name = min(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise UsageError(f"The backup {folder} is not as it was made: {name} differs.", _ANOTHER)


def _refuse_links(folder: Path) -> None:
    """Refuses links and special files by name: they have no checksum, and would be followed when they are restored."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_symlink():
            to = path.readlink()
            if name == _SERVED and to.parent == Path("builds") and to.name != "..":
                continue
            raise UsageError(f"The backup {folder} holds a link: {name} points to {to}.", _ANOTHER)
        if not path.is_file() and not path.is_dir():
            raise UsageError(f"The backup {folder} holds {name}, which is neither file nor folder.", _ANOTHER)


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file, by its path in the folder."""
    checksums = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and str(path.relative_to(folder)) not in _NO_PART:
            with path.open("rb") as stream:
                checksums[str(path.relative_to(folder))] = hashlib.file_digest(stream, "sha256").hexdigest()
    return checksums
