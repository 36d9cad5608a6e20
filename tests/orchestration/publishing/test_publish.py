"""Write, audit, publish: only what was judged goes out, and all of it moves together."""

import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from orchestration.declarations.catalog import Catalog
from orchestration.errors import TraithouseError
from orchestration.gates.candidates import audit
from orchestration.gates.verdicts import load_verdicts, save_verdicts
from orchestration.home import Home
from orchestration.pipeline.refresh import refresh
from orchestration.publishing.publish import publish
from orchestration.publishing.snapshot import served_build
from orchestration.transform.dbt import Project
from tests.builds import FLIP, FLIPPED, change_features, next_build, publish_day
from tests.conftest import queried, served

HIDDEN_FLIP = "update candidates.at_risk set value = not value where user_id = 'user_0001'"


@pytest.mark.long
def test_publishing_again_changes_nothing(sample_home: Home, sample_project: Project) -> None:
    before = (sample_home.serving / "current").readlink()
    _, report = refresh(sample_project)
    assert not report.published
    assert {trait.changes for trait in report.traits} == {0}
    assert (sample_home.serving / "current").readlink() == before
    assert served(sample_home, "select count(*) from traits.builds") == [(1,)]


def test_a_snapshot_is_known_again_whatever_the_digits_of_its_instant(
    sample_home: Home, sample_project: Project
) -> None:
    with sample_home.connect() as connection:
        connection.execute("update traits.builds set published_at = '2024-07-01 08:00:00.34'")
    publish(sample_project)
    written = (sample_home.serving / "current").readlink()
    publish(sample_project)
    assert (sample_home.serving / "current").readlink() == written


def test_every_published_value_can_be_traced(sample_home: Home) -> None:
    assert served(
        sample_home,
        """
        select count(*), count(*) filter (t.reason = '' or t.reason is null or not json_valid(t.evidence)),
            count(*) filter (v.verdict = 'passed' and v.definition_version = t.definition_version)
        from traits.trait_values as t
        left join traits.gate_verdicts as v on t.build_id = v.build_id and t.trait = v.trait
        """,
    ) == [(5400, 0, 5400)]


def test_the_ledger_adds_up_to_the_values(sample_home: Home, sample_project: Project) -> None:
    next_build(sample_project, FLIP)
    publish(sample_project)
    assert (
        served(
            sample_home,
            """
        with replayed as (
            select entity_id, trait, arg_max(new_value, seq) as value from traits.trait_changes group by all
        )
        (from replayed where value is not null except select entity_id, trait, value from traits.trait_values)
        union all
        (select entity_id, trait, value from traits.trait_values except from replayed)
        """,
        )
        == []
    )


def test_a_change_is_written_with_its_cause_and_the_reason_of_that_moment(
    sample_home: Home, sample_project: Project
) -> None:
    next_build(sample_project, FLIP)
    report = publish(sample_project)
    assert {trait.trait: trait.changes for trait in report.traits if trait.changes} == {"ready_to_upgrade": 1}
    [(user,)] = queried(sample_home, FLIPPED)
    assert served(
        sample_home,
        "select entity_id, old_value, new_value, cause, build_id from traits.trait_changes order by seq desc limit 1",
    ) == [(user, "true", "false", "behaviour", report.build_id)]
    assert served_build(sample_home) == report.build_id


@pytest.mark.long
def test_a_reason_is_frozen_while_the_evidence_goes_on(sample_home: Home, sample_project: Project) -> None:
    of_user = (
        "select reason, evidence, since from traits.trait_values where trait = 'at_risk' and entity_id = 'user_0001'"
    )
    [(reason, evidence, since)] = served(sample_home, of_user)
    publish_day(sample_project, as_of="2024-07-01")
    [(reason_later, evidence_later, since_later)] = served(sample_home, of_user)
    assert (reason_later, since_later) == (reason, since)
    silent = [json.loads(text)["features"]["silent_days"] for text in (evidence, evidence_later)]
    assert silent[1] == silent[0] + 2


def test_values_that_changed_after_the_audit_are_not_published(sample_home: Home, sample_project: Project) -> None:
    next_build(sample_project)
    publish(sample_project)
    before = served(sample_home, "from traits.trait_values order by all")
    queried(sample_home, HIDDEN_FLIP)
    report = publish(sample_project)
    assert [(t.trait, t.reason) for t in report.withheld] == [("at_risk", "Its values changed after they were judged.")]
    assert served(sample_home, "from traits.trait_values order by all") == before


def test_a_verdict_of_another_build_publishes_nothing(sample_home: Home, sample_project: Project) -> None:
    before = served(sample_home, "from traits.trait_values order by all")
    next_build(sample_project)
    with sample_home.connect() as connection:
        build_id = queried_one(connection, "select build_id from state.current_build")
        verdicts = load_verdicts(connection, build_id)
        save_verdicts(connection, [replace(v, build_id="000001-20240630T000000Z") for v in verdicts.values()])
    report = publish(sample_project)
    assert {trait.verdict for trait in report.traits} == {"none"}
    assert served(sample_home, "from traits.trait_values order by all") == before


def queried_one(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    row = connection.execute(sql).fetchone()
    return str(row[0]) if row else ""


def test_a_raised_version_marks_the_changes_that_it_causes(sample_home: Home, sample_project: Project) -> None:
    newer = [
        t.model_copy(update={"version": t.version + (t.name == "ready_to_upgrade")})
        for t in sample_project.catalog.traits
    ]
    catalog = Catalog(traits=tuple(newer), syncs=sample_project.catalog.syncs)
    sample_project = sample_project.replace(catalog=catalog)
    next_build(sample_project, FLIP)
    publish(sample_project)
    [(user,)] = queried(sample_home, FLIPPED)
    assert served(sample_home, "select entity_id, cause from traits.trait_changes where cause != 'behaviour'") == [
        (user, "definition")
    ]
    versions = "select distinct definition_version from traits.trait_values where trait = 'ready_to_upgrade'"
    assert served(sample_home, versions) == [(sample_project.catalog.trait("ready_to_upgrade").version,)]


def test_a_crash_between_commit_and_snapshot_is_repaired(
    sample_home: Home, sample_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> Path:
        raise KeyboardInterrupt

    next_build(sample_project, FLIP)
    with monkeypatch.context() as patched:
        patched.setattr("orchestration.publishing.publish.write_snapshot", crash)
        with pytest.raises(KeyboardInterrupt):
            publish(sample_project)
    assert served_build(sample_home) == "000001-20240630T000000Z"
    next_build(sample_project)
    assert not publish(sample_project).published
    assert served_build(sample_home) == "000002-20240702T000000Z"


def test_a_snapshot_of_an_earlier_version_is_replaced_although_nothing_changed(
    sample_home: Home, sample_project: Project
) -> None:
    folder = (sample_home.serving / "current").resolve()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(
        json.dumps({name: manifest[name] for name in manifest if name != "parquet_files"})
    )
    for table in ("trait_values", "user_traits"):
        shutil.rmtree(folder / table)
        (folder / f"{table}.parquet").touch()
    assert not publish(sample_project).published
    now = (sample_home.serving / "current").resolve()
    assert now != folder
    assert duckdb.sql(f"select count(*) > 0 from '{now}/trait_values/*.parquet'").fetchall() == [(True,)]


@pytest.mark.long
def test_a_crash_after_a_build_is_published_a_second_time_is_repaired(
    sample_home: Home, sample_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> Path:
        raise KeyboardInterrupt

    next_build(sample_project, "update features.user_features set adjusted_silent_days = adjusted_silent_days + 0.1")
    first = publish(sample_project)
    change_features(sample_project, FLIP)
    audit(sample_project)
    with monkeypatch.context() as patched:
        patched.setattr("orchestration.publishing.publish.write_snapshot", crash)
        with pytest.raises(KeyboardInterrupt):
            publish(sample_project)
    again = publish(sample_project)
    assert (again.build_id, again.published) == (first.build_id, False)
    [(user,)] = queried(sample_home, FLIPPED)
    flipped = f"""
        select count(*) from traits.trait_changes where entity_id = '{user}' and trait = 'ready_to_upgrade'
    """
    assert served(sample_home, flipped) == [(2,)]


def test_without_a_build_there_is_nothing_to_publish(home: Home, project_in: Callable[[Home], Project]) -> None:
    with pytest.raises(TraithouseError, match="no build to publish"):
        publish(project_in(home))


@pytest.mark.long
def test_readers_in_another_process_see_whole_builds_while_builds_are_published(
    sample_home: Home, sample_project: Project
) -> None:
    reader = textwrap.dedent(
        f"""
        import duckdb, pathlib, time
        seen, end = set(), time.monotonic() + 600
        stop = pathlib.Path({str(sample_home.root / "stop")!r})
        while not stop.exists() and time.monotonic() < end:
            path = pathlib.Path({str(sample_home.serving / "current" / "traithouse.duckdb")!r}).resolve()
            with duckdb.connect(str(path), read_only=True) as c:
                sql = "select max(build_id) from traits.builds union all select max(build_id) from traits.trait_values"
                builds = c.execute(sql).fetchall()
                assert builds[0] == builds[1], builds
                seen.add(builds[0][0])
        print(len(seen))
        """
    )
    with subprocess.Popen([sys.executable, "-c", reader], stdout=subprocess.PIPE, text=True) as process:
        for day in ("2024-06-30", "2024-07-01"):
            next_build(sample_project, FLIP, as_of=day)
            publish(sample_project)
        (sample_home.root / "stop").touch()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert int(output) >= 3


@pytest.mark.long
def test_old_builds_are_kept_up_to_the_limit(sample_home: Home, project_in: Callable[[Home], Project]) -> None:
    home = Home(sample_home.settings.model_copy(update={"builds_kept": 2}))
    for day in ("2024-06-30", "2024-07-01"):
        next_build(project_in(home), FLIP, as_of=day)
        publish(project_in(home))
    names = sorted(path.name for path in (home.serving / "builds").iterdir())
    assert names == ["000002-20240701T000000Z", "000003-20240702T000000Z"]
    assert (home.serving / "current").readlink().name == names[-1]
