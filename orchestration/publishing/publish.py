"""Publishes what passed: ledger, values, thresholds and catalogue move in one transaction, then the snapshot.

A trait without a passing verdict for exactly this build and content keeps its last good values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import duckdb

from orchestration.declarations.catalog import Catalog
from orchestration.declarations.traits import Trait
from orchestration.errors import TraithouseError
from orchestration.gates.source_verdicts import copy_source_verdicts
from orchestration.gates.verdicts import Verdict, load_verdicts, save_verdicts
from orchestration.home import Home, Notify, silent, utc_now
from orchestration.published.tables import PUBLISHED_TABLES, WIDE_TABLES, wide_view
from orchestration.publishing.ledger import publish_trait, retire
from orchestration.publishing.snapshot import served_manifest, write_snapshot
from orchestration.sync.audience import write_people
from orchestration.sync.ledger import SyncLedger
from orchestration.transform.build import Build, current_build, failed_models
from orchestration.transform.content import content_hash
from orchestration.transform.dbt import Project

NO_VERDICT = "It was not judged in this build."


@dataclass(frozen=True)
class TraitReport:
    """What publishing did with one trait.

    Attributes:
        verdict: passed, failed, not_enough_evidence, or none when this build did not judge it.
        changes: rows added to the ledger.
        entered: of these, to true (for other types: to a value).
        left: of these, from true (for other types: to none).

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
        snapshot: build that is served now; null when nothing has ever been published.
        published: whether anything changed.
        failed_models: seeds and models up to the features that failed in this build, with dbt's words.
        traits: by trait.

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


def publish(project: Project, *, notify: Notify = silent) -> PublishReport:
    """Publishes the current build; making it again changes nothing.

    Args:
        project: what is declared; takes the lock of its home.
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
        reports, written = [], 0
        for trait in catalog.traits:
            verdict = verdicts.get(trait.name)
            if verdict and verdict.verdict == "passed":
                notify(f"publishing {trait.name}")
                counts = publish_trait(connection, trait, build, accepted=verdict.accepted)
            else:
                counts = (0, 0, 0, 0)
            written += counts[0]
            reports.append(_report(trait, verdict, counts))
        written += retire(connection, catalog, build)
        for entity in WIDE_TABLES:
            connection.execute(wide_view(entity, ever_published(connection, catalog)))
        _write_catalog(connection, catalog, reports)
        published = bool(written) or not _same_catalog(connection)
        if published:
            copy_sync_ledger(project.home, connection)
            _close_build(connection, build, reports)
        connection.execute("commit" if published else "rollback")
        write_people(project.home, connection, catalog)
        newest = connection.execute(
            "select build_id, published_at from traits.builds order by build_id desc limit 1"
        ).fetchone()
        served = served_manifest(project.home)
        # Also after a crash between the commit and the snapshot, whatever was published then; and in place of one that
        # an earlier version wrote, whose files are others.
        is_newest = newest and (newest[0], str(newest[1])) == (served.get("build_id"), served.get("published_at"))
        if newest and not (is_newest and "parts" in served):
            notify("writing the serving snapshot")
            write_snapshot(project.home, connection, newest[0])
        failed = tuple(failed_models(connection, project))
    snapshot = newest[0] if newest else None
    return PublishReport(build.build_id, build.as_of, snapshot, published, failed, tuple(reports))


def _binding_verdicts(connection: duckdb.DuckDBPyConnection, catalog: Catalog, build: Build) -> dict[str, Verdict]:
    """Verdicts of exactly this build; one whose content or definition is no longer what was judged has failed."""
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
    """Declared traits that have values: the columns of the wide tables."""
    with_values = {row[0] for row in connection.execute("select distinct trait from traits.trait_values").fetchall()}
    return [trait for trait in catalog.traits if trait.name in with_values]


def _write_catalog(connection: duckdb.DuckDBPyConnection, catalog: Catalog, reports: Sequence[TraitReport]) -> None:
    """Makes the new catalogue beside the old one; a trait that this build did not judge keeps its last verdict."""
    connection.execute("create or replace temp table new_catalog as select * from traits.trait_catalog limit 0")
    lifts = _measured(connection, "trait_lift", "lift, lift_low, lift_high, as_of")
    stability = _measured(
        connection,
        "trait_stability",
        "flip_rate, member_flip_rate, repeat_flip_share, median_dwell_days, prevalence_drift, stability_days, grade,"
        " grade_reason",
    )
    for trait, report in zip(catalog.traits, reports, strict=True):
        if report.verdict == "none":
            connection.execute(
                "insert into new_catalog select * from traits.trait_catalog where trait = $1",
                [trait.name],
            )
            continue
        connection.execute(
            f"insert into new_catalog values ({', '.join('?' * 27)})",
            [
                trait.name,
                trait.title,
                trait.entity,
                trait.type,
                trait.description,
                trait.purpose,
                trait.owner,
                trait.version,
                report.verdict,
                report.reason,
                report.population,
                report.eligible,
                report.members,
                round(report.prevalence, 4),
                trait.outcome.title,
                *lifts.get(trait.name, (None,) * 4),
                *stability.get(trait.name, (None,) * 8),
            ],
        )


def _measured(connection: duckdb.DuckDBPyConnection, table: str, columns: str) -> dict[str, tuple[Any, ...]]:
    """What a table of schema measurement says of each trait; nothing before it was measured."""
    exists = "select 1 from duckdb_tables() where schema_name = 'measurement' and table_name = $1"
    if connection.execute(exists, [table]).fetchone() is None:
        return {}
    rows = connection.execute(f"select trait, {columns} from measurement.{table}").fetchall()
    return {row[0]: row[1:] for row in rows}


def _same_catalog(connection: duckdb.DuckDBPyConnection) -> bool:
    different = connection.execute(
        """
        (select * from new_catalog except select * from traits.trait_catalog)
        union all
        (select * from traits.trait_catalog except select * from new_catalog)
        """
    ).fetchone()
    return different is None


def _close_build(connection: duckdb.DuckDBPyConnection, build: Build, reports: Sequence[TraitReport]) -> None:
    """Records the build, its verdicts and the new catalogue."""
    connection.execute("delete from traits.trait_catalog")
    connection.execute("insert into traits.trait_catalog select * from new_catalog order by trait")
    connection.execute("delete from traits.gate_verdicts where build_id = $1", [build.build_id])
    connection.execute(
        "insert into traits.gate_verdicts by name select * from state.gate_verdicts where build_id = $1",
        [build.build_id],
    )
    copy_source_verdicts(connection, build.build_id)
    now = utc_now()
    connection.execute("delete from traits.builds where build_id = $1", [build.build_id])
    connection.execute(
        "insert into traits.builds values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'refresh', null, false)",
        [
            build.build_id,
            build.as_of,
            build.started_at,
            now,
            round((now - build.started_at).total_seconds(), 3),
            _count(connection, "traits.trait_changes", build),
            _count(connection, "traits.trait_values", build),
            sum(report.verdict == "passed" for report in reports),
            sum(report.verdict == "failed" for report in reports),
        ],
    )


def _count(connection: duckdb.DuckDBPyConnection, table: str, build: Build) -> int:
    row = connection.execute(f"select count(*) from {table} where build_id = $1", [build.build_id]).fetchone()
    return int(row[0]) if row else 0


def _report(trait: Trait, verdict: Verdict | None, counts: tuple[int, int, int, int]) -> TraitReport:
    if verdict is None:
        return TraitReport(trait.name, trait.title, "none", NO_VERDICT, 0, 0, 0, 0.0)
    return TraitReport(
        trait=trait.name,
        title=trait.title,
        verdict=verdict.verdict,
        reason=verdict.reason,
        population=verdict.population,
        eligible=verdict.eligible,
        members=verdict.members,
        prevalence=verdict.prevalence,
        changes=counts[1],
        entered=counts[2],
        left=counts[3],
    )


def copy_sync_ledger(home: Home, connection: duckdb.DuckDBPyConnection) -> None:
    """Copies the log of deliveries next to the traits, so that a BI tool sees both."""
    with SyncLedger(home) as ledger:
        for table, rows in (
            ("sync_log", ledger.run_rows()),
            ("sync_failures", ledger.failure_rows()),
        ):
            connection.execute(f"delete from traits.{table}")
            if rows:
                columns, values = ", ".join(rows[0]), ", ".join(f"${column}" for column in rows[0])
                connection.executemany(f"insert into traits.{table} ({columns}) values ({values})", rows)
