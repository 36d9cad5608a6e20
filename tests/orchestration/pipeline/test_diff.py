"""Diff: what a changed definition will do, before it does."""

from pathlib import Path

import pytest

from orchestration.home import Home
from orchestration.pipeline.diff import diff
from orchestration.pipeline.refresh import write_and_audit
from orchestration.publishing.publish import publish
from orchestration.sync.engine import run_sync
from orchestration.transform.dbt import Project
from tests.conftest import queried


@pytest.mark.long
def test_a_diff_tells_what_publishing_then_does_and_writes_nothing(sample_home: Home, project_copy: Path) -> None:
    home = Home(sample_home.settings.model_copy(update={"project": project_copy}))
    declared = project_copy / "models" / "traits" / "users" / "power_user.yml"
    text = declared.read_text()
    assert "active_days_28d < 3 or" in text
    entry = text.replace("active_days_28d < 3 or", "active_days_28d < 12 or")
    number = entry.split("  version: ", 1)[1].split()[0]
    raised = str(int(number) + 1)
    declared.write_text(entry.replace(f"  version: {number}", f"  version: {raised}", 1))
    project = Project(home)
    for sync in project.catalog.syncs:
        run_sync(home, project.catalog, sync)

    tables = ("trait_values", "trait_changes", "trait_thresholds", "trait_catalog", "builds")
    published = [queried(home, f"select * from traits.{table} order by all") for table in tables]
    snapshot = (home.serving / "current").readlink()
    found = diff(project, "power_user")
    assert [queried(home, f"select * from traits.{table} order by all") for table in tables] == published
    assert (home.serving / "current").readlink() == snapshot
    assert queried(home, "select count(*) from duckdb_schemas() where schema_name like 'replay%'") == [(0,)]

    assert found.publishable
    assert (str(found.published_version), str(found.version)) == (number, raised)
    assert found.left > 0
    assert found.members_after == found.members_before + found.entered - found.left
    assert {moved["move"] for moved in found.examples} <= {"enters", "leaves"}
    assert all(moved["reason"] for moved in found.examples)
    assert len(found.examples) == min(20, found.changed)

    write_and_audit(project)
    report = publish(project)
    (done,) = (trait for trait in report.traits if trait.trait == "power_user")
    assert (done.changes, done.entered, done.left) == (found.changed, found.entered, found.left)
    causes = "select distinct cause from traits.trait_changes where trait = 'power_user' and old_value is not null"
    assert queried(home, causes) == [("definition",)]
    carrying = {sync["sync"]: sync["records_then"] for sync in found.syncs}
    for sync in project.catalog.syncs:
        if sync.name in carrying:
            assert run_sync(home, project.catalog, sync, dry_run=True).planned == carrying[sync.name]


def test_before_anything_is_published_every_entity_is_a_record(sample_home: Home, sample_project: Project) -> None:
    with sample_home.connect() as connection:
        connection.execute("delete from traits.trait_values; delete from traits.trait_changes")
    (sample_home.serving / "current").unlink()
    found = diff(sample_project, "at_risk")
    assert (found.published_version, found.population_before) == (None, 0)
    assert found.population_after == found.changed > 0
    assert {(sync["records_now"], sync["records_then"]) for sync in found.syncs} == {(0, found.population_after)}
