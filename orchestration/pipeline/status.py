"""What a home holds now: what is loaded, fresh, published and withheld, and why.

Reads the serving snapshot and the status file only, so it answers while a refresh runs.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

from orchestration.damage import ledger_trouble, refuse_foreign
from orchestration.errors import DamagedFileError, TraithouseError
from orchestration.home import Home, utc_now
from orchestration.publishing.snapshot import served_build, snapshot_trouble
from orchestration.serving.snapshot import published_traits
from orchestration.sync.copied_home import TAKE_OVER, copied_from, copy_words
from orchestration.sync.ledger import SyncLedger


def home_status(home: Home) -> dict[str, Any]:
    """What is loaded, running, fresh, published and withheld."""
    written = home.status()
    broken = _broken(home)
    traits = published_traits(home)
    last = written.get("last_refresh") or {}
    judged = written.get("verdicts") or {}
    for trait in traits:
        # The last refresh may have judged a trait without publishing anything.
        verdict = judged.get(trait["trait"], {"verdict": trait["verdict"], "reason": trait["verdict_reason"]})
        trait["verdict"], trait["verdict_reason"] = verdict["verdict"], verdict["reason"]
    busy = home.busy()
    newest = (written.get("loads") or {}).get("newest_event_at")
    failures, log = _deliveries(home, broken)
    return {
        "home": str(home.root),
        "broken": broken,
        "environment": home.settings.env,
        "busy": busy,
        "running": written.get("running") if busy else None,
        "loads": written.get("loads"),
        "sources": _sources(written),
        "unread": written.get("unread") or [],
        "rows": written.get("rows") or [],
        "counts": written.get("counts"),
        "newest_event_hours_ago": _hours_since(newest),
        "last_refresh": last or None,
        "last_error": written.get("last_error"),
        "served_build": served_build(home),
        "traits": traits,
        "withheld": [
            {"trait": name, "reason": trait["reason"]} for name, trait in judged.items() if trait["verdict"] == "failed"
        ],
        "not_enough_evidence": [
            {"trait": name, "reason": trait["reason"]}
            for name, trait in judged.items()
            if trait["verdict"] == "not_enough_evidence"
        ],
        "last_sync": {name: log[-1][name] for name in ("sync", "started_at", "ended_at", "build_id")} if log else None,
        "sync_failures": len(failures),
        "data_docs": written.get("data_docs"),
    }


def broken_parts(home: Home) -> list[str]:
    """Which files of the home are damaged, and what holds its deliveries, in words."""
    found = _broken(home)
    _deliveries(home, found)
    return found


def _broken(home: Home) -> list[str]:
    """Which files of the home are damaged, and what to do, in words; the warehouse is looked at, not opened."""
    found = []
    try:
        home.prepare()
    except DamagedFileError as error:
        found.append(_in_words(error))
    try:
        refuse_foreign(home.warehouse)
    except TraithouseError as error:
        found.append(_in_words(error))
    status = home.root / "status.json"
    if status.exists() and not home.status():
        found.append(f"{status} is damaged; the next traithouse load and refresh write it anew.")
    if snapshot := snapshot_trouble(home):
        found.append(snapshot)
    return found


def _deliveries(home: Home, broken: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Records that could not be delivered, and runs of syncs; none where the ledger is damaged, and that is added."""
    try:
        with SyncLedger(home) as ledger:
            if home.settings.is_production and (original := copied_from(home, ledger)):
                broken.append(f"Nothing is sent: {copy_words(home, original)} {TAKE_OVER}")
            return ledger.failure_rows(), ledger.run_rows()
    except TraithouseError as error:
        words = _in_words(error)
    except sqlite3.Error as error:
        words = _in_words(ledger_trouble(home.sync_ledger, error))
    if words not in broken:
        broken.append(words)
    return [], []


def _in_words(error: TraithouseError) -> str:
    return f"{error.message} {error.hint}".strip()


def _sources(written: dict[str, Any]) -> list[dict[str, Any]]:
    """Each source with its newest load and the last verdict on it; null where there is none."""
    loads = (written.get("loads") or {}).get("sources") or {}
    verdicts = written.get("source_verdicts") or {}
    unknown = dict.fromkeys(("loaded_at", "newest_event_at", "build_id", "verdict", "reason"))
    return [
        {"source": name} | unknown | loads.get(name, {}) | verdicts.get(name, {})
        for name in sorted(loads.keys() | verdicts.keys())
    ]


def _hours_since(instant: str | None) -> float | None:
    if instant is None:
        return None
    return round((utc_now() - datetime.fromisoformat(instant)).total_seconds() / 3600, 1)
