"""Dagster's own folder in the home: no telemetry, one writer of the warehouse at a time."""

from __future__ import annotations

import os

from orchestration.home import House, write_atomically

_INSTANCE = """\
telemetry:
  enabled: false
nux:
  enabled: false
concurrency:
  pools:
    default_limit: 1
"""


def dagster_environment(house: House) -> dict[str, str]:
    """Environment for a Dagster process of this house; makes the folder."""
    house.prepare()
    folder = house.root / "dagster"
    folder.mkdir(exist_ok=True)
    write_atomically(folder / "dagster.yaml", _INSTANCE)
    return {
        **os.environ,
        "DAGSTER_HOME": str(folder),
        "TRAITHOUSE_HOME": str(house.root),
        "TRAITHOUSE_TARGET": house.settings.target,
        "TRAITHOUSE_PROJECT": str(house.settings.project),
        "TRAITHOUSE_LOCK_WAIT_SECONDS": os.environ.get("TRAITHOUSE_LOCK_WAIT_SECONDS", "600"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
