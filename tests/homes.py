"""Homes that earlier versions made (tests/fixtures/homes/)."""

from __future__ import annotations

import tarfile
from pathlib import Path

from orchestration.home import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "tests" / "fixtures" / "homes"


def unpack_home(version: int, home: Path) -> Path:
    """Makes the home of a version, with the rights that it was made with."""
    with tarfile.open(FOLDER / f"home_{version}.tar.gz") as archive:
        # Python 3.11.2 of Debian has no filters yet.
        archive.extraction_filter = getattr(tarfile, "tar_filter", None)
        archive.extractall(home)
    return home
