"""Dagster's own folder in the home: no telemetry, one writer of the warehouse at a time."""

from __future__ import annotations

import os

from orchestration.home import Home, write_atomically

_INSTANCE = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    default_limit: 1
"""


def dagster_environment(home: Home) -> dict[str, str]:
    """Environment for a Dagster process of this home; makes the folder."""
    home.prepare()
    folder = home.root / "dagster"
    folder.mkdir(exist_ok=True)
    write_atomically(folder / "dagster.yaml", _INSTANCE)
    return {
        **os.environ,
        "DAGSTER_HOME": str(folder),
        "TRAITHOUSE_HOME": str(home.root),
        "TRAITHOUSE_TARGET": home.settings.target,
        "TRAITHOUSE_PROJECT": str(home.settings.project),
        "TRAITHOUSE_LOCK_WAIT_SECONDS": os.environ.get("TRAITHOUSE_LOCK_WAIT_SECONDS", "600"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
