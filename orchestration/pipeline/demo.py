"""A simulated world that ends today, published for 28 days: something to serve, and to try an integration against."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from orchestration.errors import UsageError
from orchestration.home import Notify, read_json, silent, write_atomically
from orchestration.landing.load import load
from orchestration.pipeline.backfill import backfill
from orchestration.pipeline.refresh import refresh
from orchestration.simulator.make import make_simulation
from orchestration.simulator.parameters import Parameters
from orchestration.simulator.write import EVENTS
from orchestration.transform.clock import days_before, local_date
from orchestration.transform.dbt import Project

ACCOUNTS, DAYS, PUBLISHED_DAYS = 300, 120, 28
_MARKER = "demo.json"


def make_demo(
    project: Project, *, today: date | None = None, accounts: int = ACCOUNTS, notify: Notify = silent
) -> bool:
    """Fills the home with the world of a day; one of an earlier day is made new. Returns whether it made one.

    Args:
        project: whose home.
        today: the day whose midnight ends the world; UTC.
        accounts: how many companies.
        notify: progress.

    Raises:
        UsageError: the home holds something else.

    """
    home, end = project.home, today or datetime.now(UTC).date()
    made = read_json(home.root / _MARKER)
    if made.get("end") == str(end):
        return False
    if made:
        # Each day is another world, and the home holds nothing else.
        shutil.rmtree(home.root)
    elif home.warehouse.exists():
        raise UsageError(
            f"The home {home.root} holds other data.",
            "Name another home for the demo: traithouse serve --demo --home DIR",
        )
    home.prepare()
    write_atomically(home.root / _MARKER, json.dumps({"end": None}))
    simulated = make_simulation(Parameters(accounts=accounts, days=DAYS, end=end), home.root / "simulation", notify)
    load(home, [Path(simulated.folder) / EVENTS], source=simulated.source, notify=notify)
    written, _ = refresh(project, notify=notify)
    last = local_date(days_before(written.build.as_of, 2, project.time_zone), project.time_zone)
    backfill(project, last - timedelta(days=PUBLISHED_DAYS - 1), last, notify=notify)
    refresh(project, notify=notify)
    write_atomically(home.root / _MARKER, json.dumps({"end": str(end)}))
    return True
