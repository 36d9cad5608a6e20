"""The fingerprint that decides on a rebuild: every edit that can change a row changes it, a touch does not."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.transform.dbt import Project
from orchestration.transform.fingerprint import project_fingerprint
from orchestration.transform.project_files import ProjectFiles
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


def test_what_a_file_reads_of_the_environment_changes_it(
    edited: Callable[[], Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = edited().folder
    replaced(folder / "models" / "sessions" / "fct_sessions.sql", "select", "-- {{ env_var('CUT_OFF', '') }}\nselect")
    before = project_fingerprint(edited())
    monkeypatch.setenv("CUT_OFF", "2024-01-01")
    after = project_fingerprint(edited())
    monkeypatch.setenv("TRAITHOUSE_MEMORY_LIMIT", "2GB")
    assert before != after == project_fingerprint(edited())


def test_all_that_dbt_reads_decides_whether_it_parses(project_copy: Path) -> None:
    def fingerprint() -> str:
        return ProjectFiles(project_copy).fingerprint("duckdb")

    seen = [fingerprint()]
    for name in (
        "packages.yml",
        "dbt_packages/more/macros/more.sql",
        "snapshots/more.sql",
        ".dbtignore",
        "seeds/new.csv",
    ):
        (project_copy / name).parent.mkdir(parents=True, exist_ok=True)
        (project_copy / name).write_text("# more")
        seen.append(fingerprint())
    replaced(project_copy / "dbt_project.yml", "macro-paths: [macros]", "macro-paths: [macros, elsewhere]")
    seen.append(fingerprint())
    (project_copy / "elsewhere").mkdir()
    (project_copy / "linked").mkdir()
    (project_copy / "elsewhere" / "link").symlink_to(project_copy / "linked")
    (project_copy / "linked" / "more.sql").write_text("{# more #}")
    seen.append(fingerprint())
    assert len(set(seen)) == len(seen)
    on_another_day(project_copy)
    (project_copy / "tests" / "read_by_nobody.py").write_text("")
    assert fingerprint() == seen[-1]


@pytest.mark.parametrize("content", [None, "vars: [", "- a list", "\x00"])
def test_a_broken_dbt_project_is_told(home: Home, project_copy: Path, content: str | None) -> None:
    file = project_copy / "dbt_project.yml"
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=r"dbt_project\.yml is "):
        _ = Project(Home(home.settings.model_copy(update={"project": project_copy}))).manifest_dict


def test_a_parse_is_kept_until_it_would_miss_an_edit(home: Home, project_copy: Path) -> None:
    """dbt believes the times of YAML files; another parse than the one whose files are known is not believed."""
    add_parsed(home)
    parsed = home.dbt_target / "partial_parse.msgpack"
    content = parsed.read_bytes()
    declared = project_copy / "models" / "sessions" / "_sessions.yml"
    stat = declared.stat()

    def is_kept() -> bool:
        ProjectFiles(project_copy).drop_stale_parse(home)
        return parsed.exists()

    assert is_kept()
    declared.write_text(declared.read_text().replace("a", "b"))
    assert is_kept()
    os.utime(declared, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not is_kept()
    assert is_kept() is False
    parsed.write_bytes(content)
    ProjectFiles(project_copy).keep_states(home)
    assert is_kept()
    parsed.write_bytes(content[:1000])
    assert not is_kept()


@pytest.mark.long
def test_an_edit_of_yaml_in_the_same_moment_and_size_changes_it(home: Home, project_copy: Path) -> None:
    add_parsed(home)
    copy = Home(home.settings.model_copy(update={"project": project_copy}))
    declared = project_copy / "models" / "sessions" / "_sessions.yml"
    replaced(declared, "    config:\n", "    config:\n      tags: [aa]\n")
    before, stat = project_fingerprint(Project(copy)), declared.stat()
    replaced(declared, "tags: [aa]", "tags: [ab]")
    os.utime(declared, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert project_fingerprint(Project(copy)) != before


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
