"""Dagster's own folder in the home: no telemetry, one run at a time of those that write the warehouse."""

from __future__ import annotations

import os
from pathlib import Path

from orchestration.home import Home, write_atomically
from orchestration.pipeline.outbox import dagster_folder

# Pools hold whole runs: a run that waits in the queue for another is better than one that has begun and waits for the
# lease, with a place in the pool that the other's next step needs.
_INSTANCE = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    granularity: run
    default_limit: 1
"""


def write_instance(home: Home) -> Path:
    """Makes Dagster's folder, with its settings."""
    folder = dagster_folder(home)
    write_atomically(folder / "dagster.yaml", _INSTANCE)
    return folder


def dagster_environment(home: Home) -> dict[str, str]:
    """Environment for a Dagster process of this home; makes the folder."""
    folder = write_instance(home)
    return {
        **os.environ,
        "DAGSTER_HOME": str(folder),
        "TRAITHOUSE_HOME": str(home.root),
        "TRAITHOUSE_TARGET": home.settings.target,
        "TRAITHOUSE_PROJECT": str(home.settings.project),
        "TRAITHOUSE_LOCK_WAIT_SECONDS": os.environ.get("TRAITHOUSE_LOCK_WAIT_SECONDS", "600"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
