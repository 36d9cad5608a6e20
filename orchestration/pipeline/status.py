"""What a person asks a home: what is loaded, fresh, published, withheld and why; and why somebody has a trait.

Reads the serving snapshot and the status file only, so it answers while a refresh runs.
"""

from __future__ import annotations

import difflib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Home, utc_now, versions
from orchestration.published.sentences import sentence
from orchestration.publishing.snapshot import served_build
from orchestration.sync.ledger import SyncLedger
from orchestration.sync.validate import checked_destination
from orchestration.transform.dbt import Project


@contextmanager
def snapshot(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    """Opens the snapshot that is served now, read-only.

    Raises:
        UsageError: nothing is published yet.

    """
    path = home.serving / "current" / "traithouse.duckdb"
    if not path.exists():
        raise UsageError("Nothing is published yet.", "traithouse refresh publishes what passes its gate.")
    try:
        connection = duckdb.connect(str(path.resolve()), read_only=True)
    except duckdb.Error:
        raise TraithouseError("The serving snapshot cannot be read.", "traithouse refresh writes it anew.") from None
    with connection:
        yield connection


def rows(connection: duckdb.DuckDBPyConnection, sql: str, parameters: object = None) -> list[dict[str, Any]]:
    """Rows of a query as dictionaries."""
    cursor = connection.execute(sql, parameters)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def published_traits(home: Home) -> list[dict[str, Any]]:
    """The published catalogue, one row a trait; empty before the first publish."""
    if served_build(home) is None:
        return []
    with snapshot(home) as connection:
        return rows(
            connection,
            """
            select
                c.* replace (
                    coalesce(v.population, 0) as population,
                    coalesce(v.members, 0) as members,
                    coalesce(v.members / v.population, 0) as prevalence
                ),
                v.build_id as values_build_id
            from traits.trait_catalog as c
            left join (
                select
                    trait, max(build_id) as build_id, count(*) as population,
                    count(*) filter (value != 'false') as members
                from traits.trait_values group by trait
            ) as v on c.trait = v.trait
            order by c.trait
            """,
        )


def home_status(home: Home) -> dict[str, Any]:
    """What is loaded, running, fresh, published and withheld."""
    written = home.status()
    traits = published_traits(home)
    last = written.get("last_refresh") or {}
    judged = written.get("verdicts") or {}
    for trait in traits:
        # The last refresh may have judged a trait without publishing anything.
        verdict = judged.get(trait["trait"], {"verdict": trait["verdict"], "reason": trait["verdict_reason"]})
        trait["verdict"], trait["verdict_reason"] = verdict["verdict"], verdict["reason"]
    busy = home.busy()
    newest = (written.get("loads") or {}).get("newest_event_at")
    with SyncLedger(home) as ledger:
        failures = ledger.failure_rows()
        log = ledger.run_rows()
    return {
        "home": str(home.root),
        "environment": home.settings.env,
        "busy": busy,
        "running": written.get("running") if busy else None,
        "loads": written.get("loads"),
        "sources": _sources(written),
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


def explain(
    home: Home,
    catalog: Catalog,
    entity_id: str,
    *,
    entity_type: str = "user",
    trait: str | None = None,
) -> list[dict[str, Any]]:
    """Each published trait of one entity: value, since when, score, why it was entered, and how it stands now.

    Raises:
        UsageError: nothing is published, or there is no such entity or trait.

    """
    if trait is not None:
        catalog.trait(trait)
    with snapshot(home) as connection:
        found = rows(
            connection,
            """
            select trait, value, since, score, reason, evidence, as_of, definition_version, build_id
            from traits.trait_values
            where entity_type = $1 and entity_id = $2 and ($3 is null or trait = $3)
            order by trait
            """,
            [entity_type, entity_id, trait],
        )
        if not found:
            _explain_absence(connection, entity_id, entity_type, trait)
    return _in_words(catalog, found)


def examples(home: Home, catalog: Catalog, count: int, *, trait: str | None = None) -> list[dict[str, Any]]:
    """Some entities of each published trait, explained: half of them with the trait, drawn by a hash of their id.

    Raises:
        UsageError: nothing is published, or there is no such trait.

    """
    if trait is not None:
        catalog.trait(trait)
    with snapshot(home) as connection:
        found = rows(
            connection,
            """
            with drawn as (
                select
                    *,
                    row_number() over (partition by trait, value = 'false' order by md5(entity_id || trait)) as place,
                    count(*) over (partition by trait, value = 'false') as of_its_kind,
                    count(*) over (partition by trait) as of_all
                from traits.trait_values
                where $2 is null or trait = $2
            )
            select trait, entity_id, value, since, score, reason, evidence, as_of, definition_version, build_id
            from drawn
            where place <= greatest($1 // 2 + $1 % 2, $1 - (of_all - of_its_kind))
            qualify row_number() over (partition by trait order by place, value desc) <= $1
            order by trait, value desc, entity_id
            """,
            [count, trait],
        )
    return _in_words(catalog, found)


def _in_words(catalog: Catalog, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    declared = {one.name: one for one in catalog.traits}
    for row in found:
        row["evidence"] = json.loads(row["evidence"])
        known = declared.get(row["trait"])
        row["title"] = known.title if known else row["trait"]
        row["now"] = row["reason"]
        if known and row["evidence"]["rule"] in known.sentences:
            row["now"] = sentence(known, json.dumps(row["evidence"]))
    return found


def _explain_absence(
    connection: duckdb.DuckDBPyConnection, entity_id: str, entity_type: str, trait: str | None
) -> None:
    known = connection.execute(
        "select distinct entity_id from traits.trait_values where entity_type = $1", [entity_type]
    ).fetchall()
    names = [name for (name,) in known]
    if entity_id in names:
        raise UsageError(
            f"{trait} is not published for {entity_id}.",
            "traithouse status tells what is withheld.",
        )
    close = difflib.get_close_matches(entity_id, names, n=3)
    hint = f"Did you mean {', '.join(close)}?" if close else f"{len(names)} {entity_type}s have traits."
    raise UsageError(f"There is no {entity_type} {entity_id} among the published traits.", hint)


def doctor(project: Project) -> dict[str, Any]:
    """Home, lock, versions, declarations and how much of the events the catalogue understands."""
    problems = []
    project.home.prepare()
    catalog = project.catalog
    for sync in catalog.syncs:
        try:
            checked_destination(catalog, sync)
        except TraithouseError as error:
            problems.append(f"{error.message} {error.hint}")
    busy = project.home.busy()
    coverage: list[dict[str, Any]] = []
    unmapped: list[dict[str, Any]] = []
    if busy is None:
        coverage, unmapped = _coverage(project.home)
    problems += [
        f"{one['event_name']} of {one['source']} ({one['event_count']} events) is not in the event catalogue."
        for one in unmapped
    ]
    return {
        "home": str(project.home.root),
        "warehouse_mb": round(project.home.warehouse.stat().st_size / 1e6, 1) if project.home.warehouse.exists() else 0,
        "disk_free_gb": round(shutil.disk_usage(project.home.root).free / 1e9, 1),
        "lock": busy or "free",
        "versions": versions(),
        "environment": project.home.settings.env,
        "target": project.home.settings.target,
        "traits": [trait.name for trait in catalog.traits],
        "syncs": [sync.name for sync in catalog.syncs],
        "catalogue_coverage": coverage,
        "problems": problems,
    }


def _coverage(home: Home) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Share of events with a behaviour by source, and event names without one."""
    with home.lock("traithouse doctor"), home.connect() as connection:
        if not connection.execute("select 1 from duckdb_tables() where table_name = 'event_log'").fetchone():
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
