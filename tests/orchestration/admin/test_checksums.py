"""Checksums: a backup whose files are not as they were made is refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.admin.checksums import CHECKSUMS, verify_checksums, write_checksums
from orchestration.errors import UsageError
from orchestration.home import read_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A backup of two files."""
    (tmp_path / "serving").mkdir()
    (tmp_path / "warehouse.duckdb").write_bytes(b"rows")
    (tmp_path / "serving" / "manifest.json").write_text("{}")
    write_checksums(tmp_path)
    return tmp_path


def test_a_backup_as_it_was_made_is_accepted_also_after_it_was_opened(folder: Path) -> None:
    (folder / "lock").touch()
    verify_checksums(folder)


@pytest.mark.parametrize("change", ["changed", "missing", "added", "added under the name of a lock"])
def test_a_changed_backup_is_refused(folder: Path, change: str) -> None:
    if change == "changed":
        (folder / "warehouse.duckdb").write_bytes(b"rowz")
    elif change == "missing":
        (folder / "serving" / "manifest.json").unlink()
    elif change == "added":
        (folder / "another").touch()
    else:
        (folder / "serving" / "lock").touch()
    with pytest.raises(UsageError, match="is not as it was made"):
        verify_checksums(folder)


def test_checksums_that_are_written_again_keep_the_date_of_the_backup(folder: Path) -> None:
    made_at = read_json(folder / CHECKSUMS)["made_at"]
    (folder / "warehouse.duckdb").write_bytes(b"fewer rows")
    write_checksums(folder)
    assert read_json(folder / CHECKSUMS)["made_at"] == made_at
    verify_checksums(folder)


def test_a_backup_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """The format: the date, and the SHA-256 of each file by its path in the folder."""
    (tmp_path / "a").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    content = {"made_at": "2026-01-01 00:00:00", "files": {"a": empty}}
    (tmp_path / "backup.json").write_text(json.dumps(content))
    verify_checksums(tmp_path)


OUTSIDE: dict[str, Callable[[Path, Path], object]] = {
    "warehouse.duckdb points to": lambda folder, other: (folder / "warehouse.duckdb").symlink_to(other),
    "more points to": lambda folder, other: (folder / "more").symlink_to(other.parent, target_is_directory=True),
    r"inner points to \.\.": lambda folder, other: (folder / "inner").symlink_to("../other"),
    "current points to": lambda folder, other: (folder / "serving" / "current").symlink_to(other.parent),
    r"current points to builds/\.\.": lambda folder, other: (folder / "serving" / "current").symlink_to("builds/.."),
    "pipe, which is neither": lambda folder, other: os.mkfifo(folder / "pipe"),
}


@pytest.mark.parametrize("words", OUTSIDE)
def test_what_leads_out_of_a_backup_is_refused_by_name_also_with_checksums_of_its_own(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, words: str
) -> None:
    other = tmp_path_factory.mktemp("elsewhere") / "other"
    other.write_bytes(b"not ours")
    (folder / "warehouse.duckdb").unlink()
    OUTSIDE[words](folder, other)
    write_checksums(folder)
    with pytest.raises(UsageError, match=words):
        verify_checksums(folder)


def test_checksums_of_files_outside_are_refused(folder: Path) -> None:
    content = json.loads((folder / CHECKSUMS).read_text())
    content["files"] |= {"../outside": "0" * 64}
    (folder / CHECKSUMS).write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"\.\./outside differs"):
        verify_checksums(folder)


def test_the_link_to_the_snapshot_is_part_of_a_backup(folder: Path) -> None:
    (folder / "serving" / "builds" / "000001").mkdir(parents=True)
    (folder / "serving" / "current").symlink_to("builds/000001")
    verify_checksums(folder)
