"""Another build for a test that needs one, and not what dbt would make in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

import duckdb

from orchestration.declarations.traits import Trait
from orchestration.gates.candidate_order import judged_in_order
from orchestration.gates.candidates import audit
from orchestration.gates.recompute import Inputs, expected_steps
from orchestration.gates.verdicts import Verdict, last_verdicts, save_verdicts
from orchestration.pipeline.refresh import write_and_audit
from orchestration.publishing.publish import PublishReport, publish
from orchestration.transform.build import begin_build, current_build
from orchestration.transform.content import content_hash
from orchestration.transform.dbt import Project

# A build in which nothing changed is not published. Whether there is a higher plan decides on ready_to_upgrade alone,
# and on no window of activity; made twice, everything is as before.
FLIPPED = """
    select user_id from features.user_features
    where
        has_core_value and not is_cancelled and active_days_28d > 0 and pricing_28d > 0
        and not coalesce(has_bought_since_pricing, false)
    order by pricing_since_purchase_28d desc, days_since_pricing, user_id
    limit 1
"""
FLIP = f"update features.user_features set has_higher_plan = not has_higher_plan where user_id = ({FLIPPED})"


def publish_day(project: Project, as_of: str | None = None, now: datetime | None = None) -> PublishReport:
    """A refresh without lift and stability, which are measured beside it and take as long as publishing."""
    with project.home.lock("test"):
        write_and_audit(project, as_of=as_of, now=now)
        return publish(project)


def next_build(
    project: Project, *changes: str, as_of: str = "2024-07-01", traits: Sequence[str] = ()
) -> dict[str, Verdict]:
    """Begins a build, as if all that is known had happened as many days later, and audits it: verdicts by trait.

    No model runs: events, thresholds and the values of the grid point stay those of the build before. So do features
    and candidates, apart from the clock and the changes.

    Args:
        project: of a home with a build.
        changes: SQL; of features, and candidates are made of them; or of candidates, as if models had made them so.
        as_of: the clock of the new build.
        traits: judge these only.

    """
    of_features = [change for change in changes if change.strip().startswith("update features.")]
    with project.home.lock("test"):
        before = current_clock(project)
        build = begin_build(project, as_of=as_of, full_refresh=False)
        with project.home.connect() as connection:
            for entity in ("user", "account"):
                _shift_features(connection, entity, build.as_of, (build.as_of - before).days)
            for change in of_features:
                connection.execute(change)
            for trait in judged_in_order(project.catalog.traits):
                connection.execute(f"update {trait.candidate} set as_of = $1", [build.as_of])
                if of_features:
                    make_candidate(connection, project, trait)
            for change in changes:
                if change not in of_features:
                    connection.execute(change)
            connection.execute("update state.node_results set build_id = $1", [build.build_id])
            connection.execute("update state.watermark set load_id = $1, as_of = $2", [build.loaded_until, build.as_of])
            record_candidates(connection, project)
        return {verdict.trait: verdict for verdict in audit(project, traits=traits or None)}


def current_clock(project: Project) -> datetime:
    """as_of of the current build."""
    with project.home.connect() as connection:
        build = current_build(connection)
    assert build
    return build.as_of


def make_candidate(connection: duckdb.DuckDBPyConnection, project: Project, trait: Trait) -> None:
    """Makes the rows of a candidate from its declaration, with the clock that they had."""
    inputs = Inputs(f"features.{trait.entity}_features", int(project.variables["minimum_population"]))
    (kind,) = next(
        (row[1],) for row in connection.execute(f"describe {trait.candidate}").fetchall() if row[0] == "value"
    )
    connection.execute(
        f"""
        create or replace temp table made as
        with {expected_steps(trait, inputs)}
        select
            entity_id as {trait.id_column}, cast(value as {kind}) as value, score, evidence,
            (select max(as_of) from {trait.candidate}) as as_of
        from expected
        """
    )
    connection.execute(f"delete from {trait.candidate}")
    connection.execute(f"insert into {trait.candidate} by name from made")


def _shift_features(connection: duckdb.DuckDBPyConnection, entity: str, as_of: datetime, days: int) -> None:
    """Features of another clock, as a table, and the activity behind them as many days later."""
    name = f"features.{entity}_features"
    connection.execute(
        f"create or replace temp table kept as select * replace (timestamp '{as_of}' as as_of) from {name}"
    )
    (kind,) = connection.execute(
        "select table_type from information_schema.tables where table_schema = 'features' and table_name = $1",
        [f"{entity}_features"],
    ).fetchone() or ("VIEW",)
    connection.execute(f"drop {'view' if kind == 'VIEW' else 'table'} {name}")
    connection.execute(f"create table {name} as from kept")
    connection.execute(f"update activity.fct_{entity}_activity_daily set activity_date = activity_date + {days}")


def change_features(project: Project, *changes: str) -> None:
    """Changes features after ``next_build``, and makes the candidates of the same build from them."""
    with project.home.connect() as connection:
        for change in changes:
            connection.execute(change)
        for trait in judged_in_order(project.catalog.traits):
            make_candidate(connection, project, trait)
        record_candidates(connection, project)


def take_as_passed(project: Project, names: Iterable[str]) -> None:
    """Records what the candidates hold as made by their models, and as judged good in the current build.

    For tests of what comes behind the audit, with rows that it would not let through.
    """
    with project.home.connect() as connection:
        record_candidates(connection, project)
        build, last = current_build(connection), last_verdicts(connection)
        assert build
        taken = []
        for name in names:
            trait = project.catalog.trait(name)
            content = content_hash(connection, trait.candidate, trait.id_column)
            taken.append(
                replace(
                    last[name],
                    build_id=build.build_id,
                    as_of=build.as_of,
                    verdict="passed",
                    reason="",
                    content_hash=content,
                    checks=(),
                )
            )
        save_verdicts(connection, taken)


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
