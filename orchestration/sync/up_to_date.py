"""Whether a sync is up to date: all was delivered by an earlier run, and nothing that it sends has changed since.

The note of it in the sync ledger is named ``settled``. Its JSON has ``seen`` (the fingerprint, then the audience hash),
``skipped`` and ``held``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.syncs import Sync
from orchestration.home import Home
from orchestration.published.contacts import contacts_file
from orchestration.sync.audience import audience_hash
from orchestration.sync.fields import declaration_hash
from orchestration.sync.ledger import SyncLedger

_NOTE = "settled"


@dataclass(frozen=True)
class UpToDate:
    """What the last run found, when there is nothing to deliver.

    Attributes:
        skipped: reason -> entities that are not sent.
        held: trait -> why its fields stay as they are.

    """

    skipped: dict[str, int]
    held: dict[str, str]


@dataclass(frozen=True)
class Basis:
    """What a plan was made from.

    Attributes:
        fingerprint: of the files and the declaration; quick to compute.
        audience_hash: of what decides who is sent and as what; it stays when other things were published.

    """

    fingerprint: str
    audience_hash: str


def fingerprint(home: Home, catalog: Catalog, sync: Sync) -> str:
    """Hash of all that a plan is made from, except the ledger: snapshot, contacts and declaration."""
    folder = (home.serving / "current").resolve()
    files = [folder / "traithouse.duckdb", contacts_file(home)]
    facts = [(str(path), (stat := path.stat()).st_mtime_ns, stat.st_size) for path in files if path.exists()]
    text = json.dumps([facts, sync.model_dump(mode="json"), declaration_hash(catalog, sync)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def up_to_date(
    home: Home, catalog: Catalog, sync: Sync, ledger: SyncLedger, current_fingerprint: str
) -> UpToDate | None:
    """What the last run found, when it delivered all and nothing of it can have changed since; else nothing."""
    noted = json.loads(ledger.noted(sync.name, _NOTE) or "{}")
    if not noted or ledger.has_pending(sync.name):
        return None
    seen_fingerprint, *seen_hash = noted["seen"]
    if seen_fingerprint != current_fingerprint:
        if seen_hash != [audience_hash(home, catalog, sync)]:
            return None
        # Other things were published: the next run need not hash the audience again.
        ledger.note(sync.name, _NOTE, json.dumps(noted | {"seen": [current_fingerprint, *seen_hash]}))
    return UpToDate(noted["skipped"], noted["held"])


def note_up_to_date(ledger: SyncLedger, sync: Sync, found: UpToDate, basis: Basis | None) -> None:
    """Notes that all of what a plan was made from is delivered; without a basis, that this is not known."""
    noted = None
    if basis:
        seen = [basis.fingerprint, basis.audience_hash]
        noted = json.dumps({"seen": seen, "skipped": found.skipped, "held": found.held})
    ledger.note(sync.name, _NOTE, noted)
