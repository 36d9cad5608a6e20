"""Another build for a test that needs one, and not what dbt would make in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import duckdb

from orchestration.gates.candidates import audit
from orchestration.gates.verdicts import Verdict
from orchestration.pipeline.refresh import write_and_audit
from orchestration.published.state import copy_prior_state
from orchestration.publishing.publish import PublishReport, publish
from orchestration.transform.build import begin_build
from orchestration.transform.clock import grid_point_before
from orchestration.transform.content import content_hash
from orchestration.transform.dbt import Project

# A build in which nothing changed is not published.
FLIP = "update candidates.at_risk set value = not value where user_id = (select min(user_id) from candidates.at_risk)"


def publish_day(project: Project, as_of: str | None = None, now: datetime | None = None) -> PublishReport:
    """A refresh without lift and stability, which are measured beside it and take as long as publishing."""
    with project.home.lock("test"):
        write_and_audit(project, as_of=as_of, now=now)
        return publish(project)


def next_build(
    project: Project, *changes: str, as_of: str = "2024-07-01", traits: Sequence[str] = ()
) -> dict[str, Verdict]:
    """Begins a build, changes the candidates of the last one by SQL, and audits them: verdicts by trait.

    Everything is as after `write_and_audit`, but no model runs: events, features and, apart from ``as_of`` and the
    changes, candidates stay those of the build before.

    Args:
        project: of a home with a build.
        changes: SQL, as if the models had made the candidates so.
        as_of: the clock of the new build.
        traits: judge these only.

    """
    with project.home.lock("test"):
        build = begin_build(project, as_of=as_of, full_refresh=False)
        with project.home.connect() as connection:
            copy_prior_state(connection, project.catalog, grid_point_before(build.as_of, project.time_zone))
            for trait in project.catalog.traits:
                connection.execute(f"update {trait.candidate} set as_of = $1", [build.as_of])
            for change in changes:
                connection.execute(change)
            connection.execute("update state.node_results set build_id = $1", [build.build_id])
            connection.execute("update state.watermark set load_id = $1, as_of = $2", [build.loaded_until, build.as_of])
            record_candidates(connection, project)
        return {verdict.trait: verdict for verdict in audit(project, traits=traits or None)}


def change_candidates(project: Project, *changes: str) -> None:
    """Changes candidates as if their models had made them so in the current build."""
    with project.home.connect() as connection:
        for change in changes:
            connection.execute(change)
        record_candidates(connection, project)


def record_candidates(connection: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Records what the candidates hold as what the models of the current build made."""
    for trait in project.catalog.traits:
        connection.execute(
            "update state.node_results set content_hash = $1 where name = $2",
            [content_hash(connection, trait.candidate, trait.id_column), trait.name],
        )
