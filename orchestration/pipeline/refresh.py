"""The line from raw events to published traits, in the steps that the command line and the Dagster assets share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from orchestration.admin.erasure import resume_forget
from orchestration.admin.retention import apply_retention, check_retention
from orchestration.errors import TraithouseError, UsageError
from orchestration.gates.candidates import audit
from orchestration.gates.source_verdicts import SourceVerdict, load_source_verdicts
from orchestration.gates.verdicts import Verdict
from orchestration.home import Home, Notify, silent, utc_now
from orchestration.landing.segments import drain_segments
from orchestration.learning.score_models import mark_declared_models
from orchestration.measurement.lift import measure_lift
from orchestration.measurement.stability import measure_stability
from orchestration.pipeline.alerts import tell_hook
from orchestration.pipeline.reconciliation import enabled_sources, reconcile, unread_tables
from orchestration.published.state import copy_prior_state
from orchestration.publishing.publish import PublishReport, SyncRows, publish
from orchestration.spark.build import drop_other_watermark, run_on_spark
from orchestration.spark.serve import serve_on_spark
from orchestration.sync.copied_home import copied_from
from orchestration.sync.ledger import SyncLedger
from orchestration.transform.build import Build, begin_build, current_build, run_build
from orchestration.transform.clock import grid_point_before
from orchestration.transform.dbt import Project
from orchestration.transform.runner import NodeResult, OnNode, ignore_node


@dataclass(frozen=True)
class Written:
    """Candidates of one build and what the gates say of them.

    Attributes:
        build: which.
        results: how each seed and model went.
        verdicts: of the candidate audit, by trait.
        source_verdicts: of the source checks, by source.

    """

    build: Build
    results: list[NodeResult]
    verdicts: list[Verdict]
    source_verdicts: list[SourceVerdict]


def ignore_build(build: Build) -> None:
    """A build whose begin nobody waits for."""


def write_and_audit(
    project: Project,
    *,
    as_of: str | None = None,
    full_refresh: bool = False,
    select: Sequence[str] = (),
    now: datetime | None = None,
    on_begin: Callable[[Build], None] = ignore_build,
    on_node: OnNode = ignore_node,
    notify: Notify = silent,
) -> Written:
    """Write and audit: a new build, its dbt models, and a verdict on every candidate. Nothing is published.

    Args:
        project: what is built; takes lease and lock of its home.
        as_of: clock of the build: a date (its end) or a time; None for the default.
        full_refresh: whether everything is rebuilt from raw.
        select: a part of the models alone.
        now: wall clock, naive UTC.
        on_begin: called with the build once it has begun.
        on_node: called with each seed or model that went well, as soon as it has ended.
        notify: progress.

    """
    _ = project.catalog  # a wrong declaration is refused before anything is made
    check_retention(project)
    on_spark = project.home.settings.on_spark
    if on_spark and select:
        raise UsageError("On Spark a part of the project cannot be built alone.", "Build all of it.")
    purpose = "traithouse refresh"
    with project.home.lease(purpose), project.home.lock(purpose), _stage(project.home, "transforming"):
        resume_forget(project, notify=notify)
        drain_segments(project.home, notify=notify)
        if on_spark:
            drop_other_watermark(project.home)
        build = begin_build(project, as_of=as_of, full_refresh=full_refresh, partial=bool(select), now=now)
        on_begin(build)
        if build.full_refresh and not full_refresh:
            notify("rebuilding everything: first build, or definitions changed")
        with project.home.connect() as connection:
            copy_prior_state(connection, project.catalog, grid_point_before(build.as_of, project.time_zone))
            mark_declared_models(connection, project.catalog)
        if on_spark:
            results = run_on_spark(project, build, notify=notify)
        else:
            results = run_build(project, build, select=select, on_node=on_node, notify=notify)
        project.home.note(running={"stage": "auditing", "since": utc_now()})
        verdicts = audit(project, notify=notify)
        home = project.home
        with home.connect() as connection:
            source_verdicts = load_source_verdicts(connection, build.build_id)
            unread = [table.words for table in unread_tables(connection, enabled_sources(project))]
            placed = [table.as_dict() for table in reconcile(connection, enabled_sources(project), recount=False)]
        for words in unread:
            notify(words)
        home.note(
            unread=unread,
            rows=placed,
            counts=_counts(home),
            source_verdicts=_summaries(source_verdicts),
            first_event_day=_first_event_day(home),
            **_built(home),
        )
    return Written(build, results, verdicts, source_verdicts)


def audit_again(project: Project, traits: Sequence[str], *, notify: Notify = silent) -> list[Verdict]:
    """Judge candidates of the current build once more, without building anything."""
    purpose = "traithouse refresh"
    with project.home.lease(purpose), project.home.lock(purpose), _stage(project.home, "auditing"):
        return audit(project, traits=traits, notify=notify)


def publish_build(
    project: Project, *, build_id: str | None = None, tell: bool = True, notify: Notify = silent
) -> PublishReport:
    """Publish: what passed in the current build goes out; lift and stability are measured beside it.

    Args:
        project: what is declared; takes lease and lock of its home.
        build_id: the build that the caller has begun; without it whichever was begun last.
        tell: whether the alert hook is told; a caller that holds the lock tells it later.
        notify: progress.

    Raises:
        TraithouseError: there is no build, or another one has been begun since the caller's.

    """
    purpose = "traithouse publish"
    with project.home.lease(purpose), project.home.lock(purpose), _stage(project.home, "publishing"):
        with project.home.connect() as connection:
            build = current_build(connection)
        if build is None:
            raise TraithouseError("There is no build to publish.", "traithouse refresh makes one.")
        if build_id not in (None, build.build_id):
            raise TraithouseError(
                f"This run has begun build {build_id}; build {build.build_id} of another run has replaced it."
                " Nothing was published.",
                "Run the refresh again, with all its steps.",
            )
        # Lift and stability describe the past; publishing goes on where they cannot be measured.
        try:
            project.home.need_models_here("Measuring lift")
            measure_lift(project, build, notify=notify)
        except (TraithouseError, duckdb.Error) as error:
            notify(f"lift could not be measured: {str(error).splitlines()[0]}")
        try:
            measure_stability(project, build)
        except (TraithouseError, duckdb.Error) as error:
            notify(f"stability could not be measured: {str(error).splitlines()[0]}")
        report = publish(project, deliveries=_deliveries(project.home), notify=notify)
        apply_retention(project.home, report.as_of, notify=notify)
        _note_refresh(project, report)
        serve_elsewhere(project, notify=notify)
    if tell:
        tell_hook(project.home, report, notify=notify)
    return report


def _deliveries(home: Home) -> SyncRows:
    """What the sync ledger says, as rows of the published tables."""
    with SyncLedger(home) as ledger:
        copied_from(home, ledger)
        return {"sync_log": ledger.run_rows(), "sync_failures": ledger.failure_rows()}


def serve_elsewhere(project: Project, *, notify: Notify = silent) -> None:
    """Serves what the home serves on Spark, where that is the engine; what is served already is not written again."""
    if project.home.settings.on_spark:
        with project.home.lock("traithouse publish"):
            serve_on_spark(project, notify=notify)


def _note_refresh(project: Project, report: PublishReport) -> None:
    """Keep what a person asks for later; a trait that this build did not judge keeps its last verdict."""
    last = {"build_id": report.build_id, "as_of": report.as_of, "failed_models": report.failed_models}
    verdicts = project.home.status().get("verdicts") or {}
    verdicts |= {
        trait.trait: {"verdict": trait.verdict, "reason": trait.reason} for trait in report.traits if trait.judged
    }
    declared = {trait.name for trait in project.catalog.traits}
    project.home.note(
        last_refresh=last | {"ended_at": utc_now()},
        verdicts={name: verdict for name, verdict in verdicts.items() if name in declared},
        last_error=None,
    )


def refresh(
    project: Project,
    *,
    as_of: str | None = None,
    full_refresh: bool = False,
    now: datetime | None = None,
    tell: bool = True,
    notify: Notify = silent,
) -> tuple[Written, PublishReport]:
    """Write, audit, publish, under one lock; then the alert hook is told, unless the caller does that later."""
    with project.home.lease("traithouse refresh"), project.home.lock("traithouse refresh"):
        written = write_and_audit(project, as_of=as_of, full_refresh=full_refresh, now=now, notify=notify)
        report = publish_build(project, tell=False, notify=notify)
    if tell:
        tell_hook(project.home, report, notify=notify)
    return written, report


def _built(home: Home) -> dict[str, int]:
    """Newest load that a whole build has finished with, for the sensor."""
    with home.connect() as connection:
        row = connection.execute("select load_id from state.watermark").fetchone()
    return {"built_load_id": row[0]} if row else {}


def _summaries(verdicts: Sequence[SourceVerdict]) -> dict[str, dict[str, str]]:
    """What the source checks said of each source, for the status file."""
    return {
        verdict.source: {"build_id": verdict.build_id, "verdict": verdict.verdict, "reason": verdict.reason}
        for verdict in verdicts
    }


def _first_event_day(home: Home) -> date | None:
    """The first day (reporting time zone) that has an event, from which on history can be backfilled."""
    with home.connect() as connection:
        table = "activity.fct_user_activity_daily"
        if not _exists(connection, table):
            return None
        row = connection.execute(f"select min(activity_date) from {table}").fetchone()
    return row[0] if row else None


def _exists(connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    found = connection.execute(
        "select 1 from duckdb_tables() where schema_name || '.' || table_name = $1", [table]
    ).fetchone()
    return found is not None


def _counts(home: Home) -> dict[str, int]:
    """Rows of the tables that tell how large the home is; empty tables that were never built count nothing."""
    tables = {
        "events": "events.event_log",
        "users": "identity.dim_users",
        "sessions": "sessions.fct_sessions",
    }
    tables["quarantined"] = "events.quarantined_events"
    with home.connect() as connection:
        counts = {}
        for name, table in tables.items():
            if _exists(connection, table):
                row = connection.execute(f"select count(*) from {table}").fetchone()
                counts[name] = row[0] if row else 0
    return counts


@contextmanager
def _stage(home: Home, stage: str) -> Iterator[None]:
    home.note(running={"stage": stage, "since": utc_now()})
    try:
        yield
    except Exception as error:
        home.note(last_error={"stage": stage, "error": str(error).splitlines()[0], "at": utc_now()})
        raise
    finally:
        home.note(running=None)
