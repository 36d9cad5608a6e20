"""A home that was copied delivers nothing to remote destinations until a person says that it may.

A copy and its original would both send, and each would know nothing of what the other sent. So the ledger notes the
folder of its home at the first refresh or delivery. A folder that was renamed keeps device and inode, and one that was
mounted anew keeps path and inode. A copy, also one that was restored from a backup elsewhere, has another inode.
Reading and refreshing are never held.
"""

from __future__ import annotations

import json
from typing import Any

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.sync.ledger import EVERY_SYNC, SyncLedger

_NOTE = "folder"


def note_folder(home: Home, ledger: SyncLedger) -> None:
    """Notes that this folder delivers from now on."""
    ledger.note(EVERY_SYNC, _NOTE, json.dumps(_folder(home)))


def copied_from(home: Home, ledger: SyncLedger) -> str | None:
    """The folder that the home is a copy of; nothing where it is none. The first folder of a ledger is noted here."""
    here, noted = _folder(home), ledger.noted(EVERY_SYNC, _NOTE)
    before = json.loads(noted) if noted else here
    same = before["inode"] == here["inode"] and (before["path"] == here["path"] or before["device"] == here["device"])
    if not same:
        return str(before["path"])
    if before != here or not noted:
        note_folder(home, ledger)
    return None


def refuse_copied_home(home: Home, ledger: SyncLedger, where: str) -> None:
    """Refuses to deliver from a copy.

    Args:
        home: from which.
        ledger: its own.
        where: the declaration, for the message.

    Raises:
        UsageError: the home is a copy.

    """
    if original := copied_from(home, ledger):
        raise UsageError(f"{where}: nothing is sent, for {copy_words(home, original)}", TAKE_OVER)


def copy_words(home: Home, original: str) -> str:
    """That a home is a copy, in words."""
    return f"the home {home.root} is a copy of {original}, and both would deliver."


TAKE_OVER = "Where the other one delivers no more: traithouse sync --take-over makes this one deliver."


def _folder(home: Home) -> dict[str, Any]:
    stat = home.root.stat()
    return {"path": str(home.root), "device": stat.st_dev, "inode": stat.st_ino}
