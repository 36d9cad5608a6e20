"""Publishes what passed: ledger, values, thresholds and catalogue move in one transaction, then the snapshot.

A trait without a passing verdict for exactly this build and content keeps its last good values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.traits import Trait
from orchestration.errors import TraithouseError
from orchestration.gates.source_verdicts import copy_source_verdicts
from orchestration.gates.verdicts import Verdict, load_verdicts, save_verdicts
from orchestration.home import Notify, silent, utc_now
from orchestration.published.contacts import write_contacts
from orchestration.published.objections import create_objectors
from orchestration.published.rows import insert_row
from orchestration.published.tables import PUBLISHED_TABLES, WIDE_TABLES, wide_view
from orchestration.publishing.audit_log import copy_audit_log
from orchestration.publishing.ledger import NOTHING_WRITTEN, TraitCounts, publish_trait, retire, withdraw_objectors
from orchestration.publishing.lookup import copy_lookup, has_lookup, is_copy_behind
from orchestration.publishing.snapshot import PARQUET_FILES, damaged_files, served_manifest, write_snapshot
from orchestration.publishing.trait_catalog import is_same_catalog, prepare_catalog, replace_catalog
from orchestration.publishing.visitors import mark_visitors
from orchestration.transform.build import Build, current_build
from orchestration.transform.content import content_hash
from orchestration.transform.dbt import Project
from orchestration.transform.node_results import failed_models

NO_VERDICT = "It was not judged in this build."

SyncRows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Rows of the published tables about deliveries (sync_log, sync_failures), by table; each row by column."""


@dataclass(frozen=True)
class TraitReport:
    """What publishing did with one trait.

    Attributes:
        trait: name of the trait.
        title: of its declaration.
        verdict: passed, failed, not_enough_evidence, or none when this build did not judge it.
        reason: a sentence; empty when it passed.
        population: rows of the candidate.
        eligible: rows that belong to the population that thresholds are taken from.
        members: rows whose value is true (for other types: not null).
        prevalence: members / population.
        changes: rows added to the ledger.
        entered: entities whose value became true (for other types: that got a value).
        left: entities whose value was true (for other types: that had a value) and no longer is.

    """

    trait: str
    title: str
    verdict: str
    reason: str
    population: int
    eligible: int
    members: int
    prevalence: float
    changes: int = 0
    entered: int = 0
    left: int = 0

    @property
    def judged(self) -> bool:
        """Whether this build judged it."""
        return self.verdict != "none"


@dataclass(frozen=True)
class PublishReport:
    """What publishing did.

    Attributes:
        build_id: the build.
        as_of: its clock, naive UTC.
        snapshot: the build that is served now; null when nothing has ever been published.
        published: whether anything changed.
        failed_models: seeds and models up to the features that failed in this build, with dbt's message.
        traits: one report for each declared trait.

    """

    build_id: str
    as_of: datetime
    snapshot: str | None
    published: bool
    failed_models: tuple[str, ...]
    traits: tuple[TraitReport, ...]

    @property
    def withheld(self) -> list[TraitReport]:
        """Traits whose gate failed."""
        return [trait for trait in self.traits if trait.verdict == "failed"]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return asdict(self)


def publish(project: Project, *, deliveries: SyncRows = MappingProxyType({}), notify: Notify = silent) -> PublishReport:
    """Publishes the current build; publishing it again changes nothing.

    Args:
        project: what is declared; takes the lock of its home.
        deliveries: what the sync ledger says, published beside the traits for BI tools; a table that is not named
            stays as it is.
        notify: progress.

    Raises:
        TraithouseError: no build was ever begun.

    """
    with project.home.lock("traithouse refresh"), project.home.connect() as connection:
        catalog = project.catalog
        connection.execute(PUBLISHED_TABLES)
        build = current_build(connection)
        if build is None:
            raise TraithouseError("There is no build to publish.", "traithouse refresh makes one.")
        verdicts = _binding_verdicts(connection, catalog, build)
        connection.execute("begin")
        reports, written = [], mark_visitors(connection)
        create_objectors(connection)
        written += withdraw_objectors(connection, build.build_id, build.as_of)
        for trait in catalog.traits:
            verdict = verdicts.get(trait.name)
            if verdict and verdict.verdict == "passed":
                notify(f"publishing {trait.name}")
                counts = publish_trait(connection, trait, build, waived=verdict.waived)
            else:
                counts = NOTHING_WRITTEN
            written += counts.written
            reports.append(_report(trait, verdict, counts))
        written += retire(connection, catalog, build)
        for entity in WIDE_TABLES:
            connection.execute(wide_view(entity, ever_published(connection, catalog)))
        prepare_catalog(connection, catalog, verdicts)
        published = bool(written) or not is_same_catalog(connection)
        if published:
            _copy_deliveries(connection, deliveries)
            copy_audit_log(connection, project.home)
            _close_build(connection, build, reports)
        connection.execute("commit" if published else "rollback")
        write_contacts(project.home, connection, catalog)
        newest = connection.execute(
            "select build_id, published_at from traits.builds order by build_id desc limit 1"
        ).fetchone()
        served = served_manifest(project.home)
        # After a crash between commit and snapshot an older one is served; one of an earlier version is replaced, too.
        is_newest = newest and (newest[0], str(newest[1])) == (served.get("build_id"), served.get("published_at"))
        is_whole = PARQUET_FILES in served and not damaged_files(project.home)
        if newest and not (is_newest and is_whole and has_lookup(project.home, *newest)):
            notify("writing the serving snapshot")
            write_snapshot(project.home, connection, newest[0])
        elif newest and is_copy_behind(project.home):
            notify("copying what is served")
            copy_lookup(project.home)
        failed = tuple(failed_models(connection, project))
    snapshot = newest[0] if newest else None
    return PublishReport(build.build_id, build.as_of, snapshot, published, failed, tuple(reports))


def _binding_verdicts(connection: duckdb.DuckDBPyConnection, catalog: Catalog, build: Build) -> dict[str, Verdict]:
    """Verdicts of exactly this build; one has failed when content or definition are not those that were judged."""
    verdicts = load_verdicts(connection, build.build_id)
    broken = []
    for trait in catalog.traits:
        verdict = verdicts.get(trait.name)
        if verdict is None or verdict.verdict != "passed":
            continue
        if content_hash(connection, trait.candidate, trait.id_column) != verdict.content_hash:
            broken.append(replace(verdict, verdict="failed", reason="Its values changed after they were judged."))
        elif verdict.definition_version != trait.version:
            broken.append(replace(verdict, verdict="failed", reason="Its definition changed after it was judged."))
        elif verdict.contradicts_itself:
            broken.append(replace(verdict, verdict="failed", reason="Its verdict says passed, and its checks do not."))
    if broken:
        save_verdicts(connection, broken)
    return verdicts | {verdict.trait: verdict for verdict in broken}


def ever_published(connection: duckdb.DuckDBPyConnection, catalog: Catalog) -> Sequence[Trait]:
    """Declared traits that have published values; the wide tables have columns for them."""
    with_values = {row[0] for row in connection.execute("select distinct trait from traits.trait_values").fetchall()}
    return [trait for trait in catalog.traits if trait.name in with_values]


def _close_build(connection: duckdb.DuckDBPyConnection, build: Build, reports: Sequence[TraitReport]) -> None:
    """Records the build, its verdicts and the new catalogue."""
    replace_catalog(connection)
    connection.execute("delete from traits.gate_verdicts where build_id = $1", [build.build_id])
    connection.execute(
        "insert into traits.gate_verdicts by name select * from state.gate_verdicts where build_id = $1",
        [build.build_id],
    )
    copy_source_verdicts(connection, build.build_id)
    now = utc_now()
    connection.execute("delete from traits.builds where build_id = $1", [build.build_id])
    row = {
        "build_id": build.build_id,
        "as_of": build.as_of,
        "started_at": build.started_at,
        "published_at": now,
        "seconds": round((now - build.started_at).total_seconds(), 3),
        "changes": _count(connection, "traits.trait_changes", build),
        "values_written": _count(connection, "traits.trait_values", build),
        "traits_published": sum(report.verdict == "passed" for report in reports),
        "traits_withheld": sum(report.verdict == "failed" for report in reports),
        "kind": "refresh",
        "rolled_back": False,
    }
    insert_row(connection, "traits.builds", row)


def _count(connection: duckdb.DuckDBPyConnection, table: str, build: Build) -> int:
    row = connection.execute(f"select count(*) from {table} where build_id = $1", [build.build_id]).fetchone()
    return int(row[0]) if row else 0


def _report(trait: Trait, verdict: Verdict | None, counts: TraitCounts) -> TraitReport:
    if verdict is None:
        return TraitReport(
            trait=trait.name,
            title=trait.title,
            verdict="none",
            reason=NO_VERDICT,
            population=0,
            eligible=0,
            members=0,
            prevalence=0.0,
        )
    return TraitReport(
        trait=trait.name,
        title=trait.title,
        verdict=verdict.verdict,
        reason=verdict.reason,
        population=verdict.population,
        eligible=verdict.eligible,
        members=verdict.members,
        prevalence=verdict.prevalence,
        changes=counts.changes,
        entered=counts.entered,
        left=counts.left,
    )


def _copy_deliveries(connection: duckdb.DuckDBPyConnection, deliveries: SyncRows) -> None:
    """Replaces the rows of the tables that are named."""
    for table, rows in deliveries.items():
        connection.execute(f"delete from traits.{table}")
        if rows:
            # One list for each column: DuckDB is slow at single rows.
            columns = {name: [row[name] for row in rows] for name in rows[0]}
            selected = ", ".join(f"unnest(${name}) as {name}" for name in columns)
            connection.execute(f"insert into traits.{table} by name select {selected}", columns)
