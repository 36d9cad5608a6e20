"""What may be wrong with a home: declarations that cannot run, and events that the catalogue does not know."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from orchestration.errors import TraithouseError
from orchestration.home import Home
from orchestration.serving.snapshot import rows
from orchestration.sync.validate import checked_destination
from orchestration.transform.dbt import Project


def doctor(project: Project) -> dict[str, Any]:
    """Home, lock, versions, declarations and how much of the events the catalogue understands.

    What is in the warehouse is left out while another process holds it.
    """
    home, catalog = project.home, project.catalog
    home.prepare()
    problems = []
    for sync in catalog.syncs:
        try:
            checked_destination(catalog, sync)
        except TraithouseError as error:
            problems.append(f"{error.message} {error.hint}")
    busy = home.busy()
    coverage: list[dict[str, Any]] = []
    unmapped: list[dict[str, Any]] = []
    if busy is None:
        coverage, unmapped = _coverage(home)
    problems += [
        f"{event['event_name']} of {event['source']} is not in the event catalogue ({event['event_count']:,} loaded);"
        " traithouse catalog suggest proposes a row."
        for event in unmapped
    ]
    return {
        "home": str(home.root),
        "warehouse_mb": round(home.warehouse.stat().st_size / 1e6, 1) if home.warehouse.exists() else 0,
        "disk_free_gb": round(shutil.disk_usage(home.root).free / 1e9, 1),
        "lock": busy or "free",
        "versions": versions(),
        "environment": home.settings.env,
        "target": home.settings.target,
        "traits": [trait.name for trait in catalog.traits],
        "syncs": [sync.name for sync in catalog.syncs],
        "catalogue_coverage": coverage,
        "problems": problems,
    }


def _coverage(home: Home) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Share of events with a behaviour by source, and the most frequent event names without one."""
    with home.lock("traithouse doctor"), home.connect() as connection:
        if not rows(connection, "select 1 as built from duckdb_tables() where table_name = 'event_log'"):
            return [], []
        coverage = rows(
            connection,
            """
            select source, count(*) as events, round(count(rule_key) / count(*), 4) as mapped
            from events.event_log join events.event_kinds using (kind_key) group by source order by source
            """,
        )
        unmapped = rows(
            connection,
            "select * from events.unmapped_events order by event_count desc, event_name limit 20",
        )
    return coverage, unmapped


def versions() -> dict[str, str]:
    """Versions of Python and of what the answers depend on."""
    from importlib.metadata import version

    packages = ("dbt-core", "dbt-duckdb", "duckdb", "great-expectations", "dagster")
    return {"python": sys.version.split()[0]} | {package: version(package) for package in packages}
