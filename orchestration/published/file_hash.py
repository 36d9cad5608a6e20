"""Checksums of files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def file_hash(path: Path, *, to_disk: bool = False) -> str:
    """SHA-256 of a file, empty if there is none; ``to_disk`` first makes sure that the disk has it."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        if to_disk:
            os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()
