"""Conventions of the project, held over its files and the manifest.

A test that takes ``project`` holds for any copy of the project's files; tests/project/test_adding_a_trait.py runs it
on a copy that has one trait more.
"""

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration.declarations.traits import THRESHOLDS_SUFFIX, TRAIT_FOLDER
from orchestration.home import PROJECT_ROOT
from orchestration.transform.dbt import Project

PACKAGE = PROJECT_ROOT / "orchestration"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Library -> folders (or files) of the package that may import it.
ALLOWED = {
    "dagster": {"defs", "definitions.py"},
    "dagster_dbt": {"defs"},
    "great_expectations": {"gates"},
    "httpx": {"destinations", "sync"},
    "standardwebhooks": {"destinations"},
    "psycopg": {"destinations", "landing"},
    "fsspec": {"destinations", "landing", "published"},
    "starlette": {"serving"},
    "uvicorn": {"serving"},
    "jwt": {"serving"},
    "requests": {"destinations", "sync"},
    "urllib": {"destinations", "sync"},
    "dbt": {"transform", "measurement"},
    "pyspark": {"spark"},
    "click": {"cli"},
    "rich": {"cli"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_each_folder_imports_only_what_it_may(path: Path) -> None:
    place = path.relative_to(PACKAGE).parts[0]
    for name in imports(path):
        library = name.split(".")[0]
        assert place in ALLOWED.get(library, {place}), f"{place} imports {library}"


def test_definitions_assembles_and_decides_nothing() -> None:
    assert len((PACKAGE / "definitions.py").read_text().splitlines()) < 60


ROWS = re.compile(r"\b((insert into|update|delete from) |insert_rows?\(\w+, f?[\"'])traits\.", re.I)
DEFINITIONS = re.compile(r"\b(create[\w ]*(table|view)[\w ]*|drop table|alter table) traits\.", re.I)
# Elsewhere: the gates record what they decided, and a migration moves what an earlier version published.
OTHER_WRITERS = {"gates/source_verdicts.py", "gates/waivers.py", "migrations.py"}


def files_with(pattern: re.Pattern[str], room: str) -> set[str]:
    """Files outside a room in which a pattern occurs."""
    return {
        str(path.relative_to(PACKAGE))
        for path in SOURCES
        if path.relative_to(PACKAGE).parts[0] != room and pattern.search(path.read_text())
    }


def test_only_publishing_writes_rows_of_schema_traits() -> None:
    assert files_with(ROWS, "publishing") == OTHER_WRITERS


def test_tables_of_schema_traits_are_defined_in_one_file() -> None:
    assert files_with(DEFINITIONS, "publishing") == {"published/tables.py"}


def own(project: Project, kind: str) -> list[dict[str, Any]]:
    return [node for node in project.manifest_dict["nodes"].values() if node["resource_type"] == kind]


def test_every_model_and_seed_has_grain_and_description(project: Project) -> None:
    for node in own(project, "model") + own(project, "seed"):
        assert len(node["description"]) > 20, node["name"]
        assert "rain" in node["description"], f"{node['name']} does not tell its grain"
        assert node["config"]["meta"].get("grain"), node["name"]
        assert set(node["config"]["meta"]["grain"]) <= set(node["columns"]), node["name"]


def test_every_column_has_type_and_description(project: Project) -> None:
    types = {"string", "bigint", "double", "boolean", "date", "timestamp"}
    for node in own(project, "model"):
        assert node["columns"], node["name"]
        for column in node["columns"].values():
            assert column["description"], (node["name"], column["name"])
            assert column["data_type"] in types, (node["name"], column["name"])


def test_every_column_that_is_made_is_described(project: Project, sample_home: Any) -> None:
    from tests.conftest import queried

    made: dict[str, set[str]] = {}
    for schema, table, column in queried(
        sample_home, "select schema_name, table_name, column_name from duckdb_columns()"
    ):
        made.setdefault(f"{schema}.{table}", set()).add(column)
    for node in own(project, "model"):
        assert made[f"{node['schema']}.{node['name']}"] == set(node["columns"]), node["name"]


def test_grain_is_tested_where_it_is_unique(project: Project) -> None:
    """Raw rows, journals, and what only passes rows on, have no unique key to test; each says so in its description."""
    without = {"checked_events", "new_events", "own_deliveries", "quarantined_events", "identity_observations"}
    without |= {"replaced_events", "owner_moves", "account_day_changes", "current_links", "current_merges"}
    without |= {"visible_events", "new_activity", "candidate_events", "bucketed_events", "owned_events", "merge_edges"}
    without |= {"event_log"}  # as fct_events
    tested = {test["attached_node"] for test in own(project, "test") if test["name"].startswith("unique_grain")}
    for node in own(project, "model"):
        is_exempt = node["name"] in without or node["schema"] == "staging"
        assert (node["unique_id"] in tested) != is_exempt, node["name"]


def test_contracts_are_enforced_where_another_tool_reads(project: Project) -> None:
    for node in own(project, "model"):
        read_elsewhere = node["name"].startswith(("fct_", "dim_")) or node["schema"] == "candidates"
        if read_elsewhere or node["name"] in ("user_features", "account_features"):
            assert node["config"]["contract"]["enforced"], node["name"]


def test_models_read_no_wall_clock_and_no_engine_by_name(project: Project) -> None:
    clock = re.compile(r"\b(current_timestamp|current_date|now\(|getdate|sysdate|today\()", re.I)
    for node in own(project, "model"):
        assert not clock.search(node["raw_code"]), node["name"]
        assert "target.type" not in node["raw_code"], node["name"]
        assert not re.search("duckdb|spark", node["raw_code"].lower()), node["name"]


def test_engine_differences_live_in_one_folder(project: Project) -> None:
    for path in (project.folder / "macros").rglob("*.sql"):
        if path.parent.name != "engine":
            assert not re.search("(duckdb|spark)__", path.read_text()), path


def test_models_end_with_a_step_that_is_only_selected(project: Project) -> None:
    for node in own(project, "model"):
        assert re.search(r"\n\)\n\nselect \* from \w+\s*$", node["raw_code"]), node["name"]


def test_every_macro_is_documented(project: Project) -> None:
    for macro in project.manifest_dict["macros"].values():
        if macro["package_name"] == "traithouse" and not macro["name"].startswith(
            ("test_", "duckdb__", "spark__", "materialization_", "_")
        ):
            assert macro["description"], macro["name"]


def test_the_event_catalogue_accepts_the_vocabulary_and_nothing_else(project: Project) -> None:
    vocabulary = project.manifest_dict["macros"]["macro.traithouse.behaviours"]["macro_sql"]
    behaviours = ast.literal_eval(re.search(r"return\((\[.*?\])\)", vocabulary, re.S)[1])  # type: ignore[index]
    accepted = [
        test["test_metadata"]["kwargs"]["values"]
        for test in own(project, "test")
        if test.get("column_name") == "behaviour" and "event_catalog" in test["attached_node"]
    ]
    assert [sorted(values) for values in accepted] == [sorted(behaviours)]


def test_schemas_are_named_after_the_stage(project: Project) -> None:
    for node in own(project, "model"):
        folder = Path(node["original_file_path"]).parts[1]
        assert node["schema"] == {"traits": "candidates"}.get(folder, folder), node["name"]


def test_a_trait_is_two_files_and_a_third_where_it_ranks(project: Project) -> None:
    folder = project.folder / TRAIT_FOLDER
    expected = set()
    for trait in project.catalog.traits:
        models = [trait.name, *filter(None, [trait.thresholds_model])]
        expected |= {f"{trait.entity}s/{trait.name}.yml", *(f"{trait.entity}s/{name}.sql" for name in models)}
        declared = yaml.safe_load((folder / f"{trait.entity}s" / f"{trait.name}.yml").read_text())
        assert [model["name"] for model in declared["models"]] == models
    assert {str(path.relative_to(folder)) for path in folder.glob("*/*")} == expected


def test_only_thresholds_read_the_thresholds_of_the_day_before(project: Project) -> None:
    for node in own(project, "model"):
        reads = "source.traithouse.state.trait_thresholds" in node["depends_on"]["nodes"]
        assert not reads or node["name"].endswith(THRESHOLDS_SUFFIX), node["name"]


def test_a_trait_reads_features_state_thresholds_and_upstream_traits_alone(project: Project) -> None:
    for trait in project.catalog.traits:
        node = project.manifest_dict["nodes"][f"model.traithouse.{trait.name}"]
        read = {parent.split(".", 2)[-1] for parent in node["depends_on"]["nodes"]}
        allowed = {f"{trait.entity}_features", "observed_behaviours", "state.trait_state", *trait.upstream_traits}
        allowed |= {trait.thresholds_model}
        allowed |= {"learning.score_points", "learning.score_probabilities"} if trait.scorecard else set()
        assert read <= allowed, (trait.name, read - allowed)


def test_descriptions_are_whole(project: Project) -> None:
    """Without quotes YAML ends a text at its comma inside braces, and takes what follows for a key."""
    for path in (project.folder / "models").rglob("*.yml"):
        for model in yaml.safe_load(path.read_text()).get("models", []):
            for column in model["columns"]:
                unknown = set(column) - {"name", "data_type", "description", "constraints", "data_tests", "config"}
                assert not unknown, (path.name, model["name"], column["name"])


def test_a_text_that_recurs_is_a_docs_block(project: Project) -> None:
    """A column text that several files have stands once, in docs.md; adapters and traits may use their own words."""
    files: dict[tuple[str, str], set[str]] = {}
    column = re.compile(r"- \{name: (\w+), data_type: \w+, description: (\"?[^{}]+?\"?)(?:, constraints: .*)?\}$", re.M)
    for path in (project.folder / "models").rglob("*.yml"):
        if path.relative_to(project.folder).parts[1] not in {"staging", "traits"}:
            for name, text in column.findall(path.read_text()):
                files.setdefault((name, text.strip('"')), set()).add(path.name)
    assert {text: where for text, where in files.items() if len(where) > 1} == {}


MOST_LINES = 300
# Longer files, each with its reason.
LONG_FILES: dict[str, str] = {}


def test_files_do_one_job(project: Project) -> None:
    """At most 300 lines in a file of ``orchestration/`` and ``models/``, or a written reason."""
    long = {
        str(path.relative_to(folder.parent))
        for folder in (PACKAGE, project.folder / "models")
        for path in folder.rglob("*")
        if path.suffix in {".py", ".sql", ".yml", ".md"} and len(path.read_text().splitlines()) > MOST_LINES
    }
    assert long == set(LONG_FILES), "split what is new here; take off the list what is short enough"
    assert all(len(reason) > 20 for reason in LONG_FILES.values())


def test_the_lock_pins_everything_and_holds_no_address() -> None:
    lines = (PROJECT_ROOT / "requirements.lock").read_text().splitlines()
    assert len(lines) > 100
    for line in lines:
        assert re.fullmatch(r"[\w.\-\[\]]+==[\w.+!]+( ; .+)?", line), line


def test_no_file_knows_a_registry_or_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    address = re.compile(r"(pypi\.org|files\.pythonhosted|--index-url|/(home|root|work)/\w)")
    for name in listed.split():
        path = PROJECT_ROOT / name
        if path.suffix not in {".gz", ".png"} and path.name != "test_conventions.py":
            assert not address.search(path.read_text()), name


def test_telemetry_of_every_dependency_is_off() -> None:
    assert "send_anonymous_usage_stats: false" in (PROJECT_ROOT / "dbt_project.yml").read_text()
    assert 'os.environ["GX_ANALYTICS_ENABLED"] = "false"' in (PACKAGE / "gates" / "engine.py").read_text()
    assert "telemetry:\n  enabled: false" in (PACKAGE / "defs" / "instance.py").read_text()
