"""What makes a folder a whole backup: ``backup.json`` with the hash of each file, written last."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path

from orchestration.errors import UsageError
from orchestration.home import read_json, utc_now, write_atomically

SEAL = "backup.json"


def seal(folder: Path, made_at: datetime | None = None) -> None:
    """Writes down every file of a backup; one that was sealed before keeps its date."""
    known = read_json(folder / SEAL).get("made_at")
    said = {"made_at": known or str(made_at or utc_now()), "files": _hashes(folder)}
    write_atomically(folder / SEAL, json.dumps(said, indent=1))


def check_seal(folder: Path) -> None:
    """Holds a folder against what was written down.

    Raises:
        UsageError: it is no backup, or not as it was made.

    """
    said = read_json(folder / SEAL).get("files")
    if not isinstance(said, dict):
        raise UsageError(f"{folder} is no backup.", "traithouse backup makes one; name its folder.")
    found = _hashes(folder)
    if found != said:
        name = min(name for name in found.keys() | said.keys() if found.get(name) != said.get(name))
        raise UsageError(f"{folder} is not as it was made: {name} differs.", "Restore another backup.")


def _hashes(folder: Path) -> dict[str, str]:
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name not in (SEAL, "lock", "lock.json"):
            with path.open("rb") as stream:
                hashes[str(path.relative_to(folder))] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes
