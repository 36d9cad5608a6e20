"""What may be wrong with a home: declarations that cannot run, rows that nobody reads, events that say nothing."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import duckdb

from orchestration.damage import WRITES_ANOTHER
from orchestration.declarations.event_types import IDENTITY_TYPES
from orchestration.errors import DamagedFileError, TraithouseError
from orchestration.gates.requirements import WHERE_MEANINGS_ARE, missing_behaviour
from orchestration.home import PROJECT_ROOT
from orchestration.landing.contract import RAW_TABLES
from orchestration.pipeline.reconciliation import Reconciled, enabled_sources, reconcile, unread_tables
from orchestration.pipeline.status import broken_parts
from orchestration.publishing.lookup import lookup_problems
from orchestration.publishing.snapshot import damaged_files, served_build
from orchestration.serving.snapshot import rows
from orchestration.sync.validate import checked_destination
from orchestration.transform.dbt import Project


def doctor(project: Project) -> dict[str, Any]:
    """Home, lock, versions, declarations, where rows have gone, and how much of the events the catalogue understands.

    What is in the warehouse is left out while another process holds it, or where its file is damaged.
    """
    home, catalog = project.home, project.catalog
    home.prepare()
    problems = _other_versions()
    for sync in catalog.syncs:
        try:
            checked_destination(catalog, sync)
        except TraithouseError as error:
            problems.append(f"{error.message} {error.hint}")
    problems += broken_parts(home)
    problems += [f"{path} is damaged. {WRITES_ANOTHER}" for path in damaged_files(home)]
    problems += lookup_problems(home) if served_build(home) else []
    busy = home.busy()
    coverage: list[dict[str, Any]] = []
    reconciled: list[dict[str, Any]] = []
    if busy is None:
        try:
            with home.lock("traithouse doctor"), home.connect() as connection:
                coverage, reconciled = _loaded(project, connection, problems)
        except DamagedFileError as error:
            words = f"{error.message} {error.hint}"
            problems += [] if words in problems else [words]
    return {
        "home": str(home.root),
        "warehouse_mb": round(home.warehouse.stat().st_size / 1e6, 1) if home.warehouse.exists() else 0,
        "disk_free_gb": round(shutil.disk_usage(home.root).free / 1e9, 1),
        "lock": busy or "free",
        "versions": versions(),
        "environment": home.settings.env,
        "target": home.settings.target,
        "traits": [trait.name for trait in catalog.traits],
        "syncs": [*(sync.name for sync in catalog.syncs), *(copy.name for copy in catalog.table_copies)],
        "rows": reconciled,
        "catalogue_coverage": coverage,
        "problems": problems,
    }


def _loaded(
    project: Project, connection: duckdb.DuckDBPyConnection, problems: list[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """How much of the events the catalogue understands, and where rows have gone; adds what is wrong with them."""
    coverage: list[dict[str, Any]] = []
    reconciled: list[dict[str, Any]] = []
    connection.execute(RAW_TABLES)
    enabled = enabled_sources(project)
    problems += [table.words for table in unread_tables(connection, enabled, _declared_tables(project))]
    if not rows(connection, "select 1 as there from raw.loads limit 1"):
        problems.append("Nothing is loaded yet; traithouse load FILE brings events in.")
    if rows(connection, "select 1 as built from duckdb_tables() where table_name = 'event_log'"):
        coverage = _coverage(connection)
        # With Spark the rows that were checked are not in the home, so they are not counted again.
        found = reconcile(connection, enabled, recount=not project.home.settings.on_spark)
        reconciled = [source.as_dict() for source in found]
        problems += [problem for source in found for problem in _row_problems(source)]
        problems += _event_problems(connection, project)
    return coverage, reconciled


def _declared_tables(project: Project) -> dict[str, set[str]]:
    """Adapter -> tables of its source."""
    tables: dict[str, set[str]] = {}
    for source in project.manifest_dict["sources"].values():
        tables.setdefault(source["source_name"].removeprefix("raw_"), set()).add(source["identifier"])
    return tables


def _coverage(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Share of events with a behaviour, by source; calls that say who somebody is need none."""
    return rows(
        connection,
        f"""
        select source, count(*) as events, round(count(rule_key) / count(*), 4) as mapped
        from events.event_log join events.event_kinds using (kind_key)
        where event_type not in {IDENTITY_TYPES} group by source order by source
        """,
    )


def _row_problems(source: Reconciled) -> Iterator[str]:
    """What is wrong with where the rows of a source have gone."""
    if source.lost:
        yield (
            f"{source.lost:,} rows of {source.source} in {source.table} are neither used nor duplicate, quarantined,"
            " returned or unread; traithouse refresh --full-refresh rebuilds everything."
        )
    if source.unread:
        where = f"{source.source} in {source.table}"
        yield f"{source.unread:,} rows of {where} came after the last refresh; traithouse refresh reads them."
    if source.rejected:
        yield (
            f"{source.rejected:,} records of {source.source} were rejected;"
            " raw.rejected_events has file, line and reason of each."
        )


def _event_problems(connection: duckdb.DuckDBPyConnection, project: Project) -> Iterator[str]:
    """Events without a meaning or a user, rows without an event, plans without a rank, needs that nothing meets."""
    for event in rows(
        connection,
        f"""
        select unmapped.* from events.unmapped_events as unmapped
        semi join (
            from events.event_kinds where event_type not in {IDENTITY_TYPES}
        ) as kinds using (source, event_name)
        order by event_count desc, event_name limit 20
        """,
    ):
        yield (
            f"{event['event_name']} of {event['source']} is not in the event catalogue"
            f" ({event['event_count']:,} loaded); traithouse catalog suggest proposes a row."
        )
    for group in rows(
        connection,
        """
        select source, quarantine_reason, count(*) as rows from events.quarantined_events
        group by all order by rows desc, source, quarantine_reason limit 20
        """,
    ):
        yield (
            f"{group['rows']:,} rows of {group['source']} are no events: {group['quarantine_reason']}."
            " events.quarantined_events holds them."
        )
    for source in rows(
        connection,
        """
        select source from events.event_log join events.event_kinds using (kind_key)
        group by source having not bool_or(is_identified) order by source
        """,
    ):
        yield (
            f"No event of {source['source']} names a user: traits are of identified users."
            " Let the tracker identify them, or map user_id."
        )
    for plan in rows(
        connection,
        """
        select lower(value) as plan, count(distinct entity_id) as entities from identity.attributes
        where attribute = 'plan' and valid_to is null
            and lower(value) not in (select plan from events.plan_catalog)
        group by all order by entities desc, plan limit 20
        """,
    ):
        yield (
            f"Plan {plan['plan']} of {plan['entities']:,} users or accounts is not in seeds/plan_catalog.csv:"
            " nobody knows whether a higher one exists. traithouse catalog suggest proposes a rank where the name tells"
            " it; else add a row plan,rank."
        )
    for trait in project.catalog.traits:
        if missing := missing_behaviour(connection, trait):
            yield f"{trait.name} is not judged. {missing.removesuffix(f'; {WHERE_MEANINGS_ARE}').rstrip('.')}."


def _other_versions() -> list[str]:
    """Packages of other versions than the lock pins."""
    lock = PROJECT_ROOT / "requirements.lock"
    pinned = re.findall(r"^([\w.-]+)==([\w.]+)", lock.read_text(), re.MULTILINE) if lock.is_file() else []
    wanted, found = dict(pinned), versions()
    return [
        f"{name} {found[name]} is installed, and {wanted[name]} is what this version was tested with:"
        " pip install -r requirements.lock."
        for name in found
        if name in wanted and found[name] != wanted[name]
    ]


def versions() -> dict[str, str]:
    """Versions of Python and of what the answers depend on."""
    from importlib.metadata import version

    packages = ("dbt-core", "dbt-duckdb", "duckdb", "great-expectations", "dagster")
    return {"python": sys.version.split()[0]} | {package: version(package) for package in packages}
