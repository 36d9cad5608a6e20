"""The fingerprint that decides on a rebuild: every edit that can change a row changes it, a touch does not."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.home import Home
from orchestration.transform.dbt import Project
from orchestration.transform.fingerprint import project_fingerprint
from tests.cache import add_parsed

BIG = "seeds/plan_catalog.csv"


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def on_another_day(folder: Path) -> None:
    """Every file as if it was written at another time."""
    for path in folder.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))


@pytest.fixture
def edited(home: Home, project: Project, project_copy: Path) -> Callable[[], Project]:
    """The project with the copied files as they are now, parsed before; its plan catalogue is larger than 1 MiB."""
    rows = "".join(f"plan-{number:08d},{number}\n" for number in range(70_000))
    (project_copy / BIG).write_text((project_copy / BIG).read_text().rstrip("\n") + "\n" + rows)
    assert (project_copy / BIG).stat().st_size > 1 << 20
    copy = Home(home.settings.model_copy(update={"project": project_copy}))
    return lambda: project.replace(copy)


EDITS = {
    "a row of a large seed, of the same size": (BIG, "plan-00069999,69999", "plan-00069999,69998"),
    "a var": ("dbt_project.yml", "session_gap_minutes: 30", "session_gap_minutes: 31"),
    "a model's config": ("dbt_project.yml", "+on_schema_change: fail", "+on_schema_change: ignore"),
    "types of a seed's columns": ("dbt_project.yml", "rank: bigint", "rank: integer"),
    "what runs before": ("dbt_project.yml", "+pre-hook:", "+post-hook:"),
    "a setting of the engine": ("profiles.yml", "duckdb", "duckdb2"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_contents_changes_it(edited: Callable[[], Project], edit: str) -> None:
    project = edited()
    name, old, new = EDITS[edit]
    path = project.folder / name
    before, stat = project_fingerprint(project), path.stat()
    replaced(path, old, new)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert project_fingerprint(edited()) != before


def test_a_touch_and_a_comment_do_not(edited: Callable[[], Project]) -> None:
    project = edited()
    before = project_fingerprint(project)
    on_another_day(project.folder)
    replaced(project.folder / "dbt_project.yml", "# Scalars only.", "# Only scalars.")
    assert project_fingerprint(edited()) == before


@pytest.mark.long
def test_edits_that_dbt_has_to_parse_change_it(home: Home, project_copy: Path) -> None:
    """A macro; a model's text; a model's configuration in its YAML; a touch of all."""
    add_parsed(home)
    copy = Home(home.settings.model_copy(update={"project": project_copy}))
    seen = [project_fingerprint(Project(copy))]
    replaced(project_copy / "macros" / "vocabulary.sql", "{%- endmacro %}", "{# and nothing else #}{%- endmacro %}")
    seen.append(project_fingerprint(Project(copy)))
    model = project_copy / "models" / "sessions" / "fct_sessions.sql"
    model.write_text(model.read_text() + "\n-- another end\n")
    seen.append(project_fingerprint(Project(copy)))
    (declared,) = (path for path in model.parent.glob("*.yml") if "- name: fct_sessions\n" in path.read_text())
    before, after = declared.read_text().split("- name: fct_sessions\n")
    after = after.replace("    config:\n", "    config:\n      on_schema_change: ignore\n", 1)
    declared.write_text(f"{before}- name: fct_sessions\n{after}")
    seen.append(project_fingerprint(Project(copy)))
    assert len(set(seen)) == len(seen)
    on_another_day(project_copy)
    assert project_fingerprint(Project(copy)) == seen[-1]
