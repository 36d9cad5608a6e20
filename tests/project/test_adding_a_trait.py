"""One more trait is two files, its SQL and its YAML; taking them away again leaves no trace."""

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.definitions import assembled
from orchestration.home import PROJECT_ROOT, Home
from orchestration.serving.explain import explain
from orchestration.sync.engine import run_sync
from orchestration.transform.dbt import Project
from tests.builds import publish_day
from tests.conftest import queried, served
from tests.project import test_conventions

SQL = """
with user_features as (

    select * from {{ ref('user_features') }}

),

prior_state as (

    select * from {{ source('state', 'trait_state') }}
    where trait = 'asleep'

),

needs as (

    {{ unobserved_needs(ref('observed_behaviours')) }}

),

judged as (

    select
        user_features.*,
        needs.not_observed,
        coalesce(prior_state.value, '') as prior,
        {{ derived_values() }}
    from user_features
    cross join needs
    left join prior_state on user_features.user_id = prior_state.entity_id

),

decided as (

    select
        judged.*,
        {{ decided_rule() }} as rule,
        {{ decided_eligible() }} as is_eligible
    from judged

),

final as (

    select
        cast(decided.user_id as string) as user_id,
        cast({{ decided_value() }} as boolean) as value,
        cast({{ decided_score() }} as double) as score,
        cast({{ evidence() }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from decided

)

select * from final
"""

YAML = """
version: 2
models:
  - name: asleep
    description: Users who have been silent for four weeks. Grain is one row a user that has been seen.
    config:
      contract: {enforced: true}
      meta:
        grain: [user_id]
        trait:
          title: Asleep
          entity: user
          type: boolean
          owner: lifecycle
          version: 1
          needs: []
          purpose: Lifecycle stops mailing them.
          derived:
            silent_days_needed: 28
          score: silent_days
          rules:
            - rule: silent
              when: silent_days >= silent_days_needed
              value: true
              text: Silent for {silent_days} days, {silent_days_needed} or more.
            - rule: awake
              text: Silent for {silent_days} days, fewer than {silent_days_needed}.
          outcome: {title: 28 days of silence, silence: true}
    columns:
      - {name: user_id, data_type: string, description: "{{ doc('user_id') }}", constraints: [{type: not_null}]}
      - {name: value, data_type: boolean, description: "{{ doc('value') }}"}
      - {name: score, data_type: double, description: None.}
      - {name: evidence, data_type: string, description: "{{ doc('evidence') }}"}
      - {name: as_of, data_type: timestamp, description: "{{ doc('as_of') }}"}
    data_tests:
      - unique_grain: {arguments: {columns: [user_id]}}
"""


@pytest.fixture
def changed_home(sample_home: Home, project_copy: Path) -> Home:
    return Home(sample_home.settings.model_copy(update={"project": project_copy}))


def asset_names(project: Project) -> set[str]:
    graph = assembled(project).resolve_asset_graph()
    checks = {"/".join([*key.asset_key.path, key.name]) for key in graph.asset_check_keys}
    return {key.to_user_string() for key in graph.executable_asset_keys} | checks


def mentions(home: Home, word: str) -> set[str]:
    """Relations and rows of the snapshot that speak of a trait, the ledger of history aside."""
    found = {f"column {row[0]}" for row in served(home, "select column_name from duckdb_columns()") if word in row[0]}
    for table in ("trait_values", "trait_catalog", "trait_thresholds"):
        if served(home, f"select 1 from traits.{table} where trait = '{word}' limit 1"):
            found.add(table)
    if queried(home, f"select 1 from duckdb_tables() where table_name = '{word}'"):
        found.add("candidate")
    return found


def add(project_copy: Path) -> list[Path]:
    """The recipe: two files beside each other."""
    folder = project_copy / "models" / "traits" / "users"
    sql, declared = folder / "asleep.sql", folder / "asleep.yml"
    sql.write_text(SQL.lstrip())
    declared.write_text(YAML.lstrip())
    return [sql, declared]


def test_one_more_trait_is_two_files_and_leaves_no_trace(changed_home: Home, project_copy: Path) -> None:
    home = changed_home
    run_sync(home, Project(home).catalog, Project(home).catalog.sync("outbox"))
    before = asset_names(Project(home))

    files = add(project_copy)
    added = Project(home)
    report = publish_day(added)
    assert {trait.trait: trait.verdict for trait in report.traits}["asleep"] == "passed"
    assert mentions(home, "asleep") == {
        "column asleep",
        "column asleep_score",
        "column asleep_since",
        "trait_values",
        "trait_catalog",
        "candidate",
    }
    described = served(home, "select description from traits.trait_catalog where trait = 'asleep'")
    assert described == [("Users who have been silent for four weeks. Grain is one row a user that has been seen.",)]
    synced = run_sync(home, added.catalog, added.catalog.sync("outbox"))
    assert synced.delivered == 600
    assert asset_names(added) - before >= {
        "candidates/asleep",
        "traits/asleep",
        "candidates/asleep/grain",
    }
    [explained] = explain(home, added.catalog, "user_0000", trait="asleep")
    assert explained["now"] == "Silent for 11 days, fewer than 28."

    for file in files:
        file.unlink()
    removed = Project(home)
    publish_day(removed)
    assert mentions(home, "asleep") == set()
    assert asset_names(removed) == before
    cleared = run_sync(home, removed.catalog, removed.catalog.sync("outbox"))
    assert cleared.delivered == 600
    retired = "from traits.trait_changes where trait = 'asleep' and cause = 'retirement'"
    assert served(home, f"select count(*), count(distinct seq) {retired}") == [(600, 600)]


@pytest.mark.long
def test_the_recipe_keeps_every_convention_and_lints_clean(changed_home: Home, project_copy: Path) -> None:
    sql, _ = add(project_copy)
    project = Project(changed_home)
    publish_day(project)
    given = {"project": project, "sample_home": changed_home}
    held = []
    for name, check in inspect.getmembers(test_conventions, inspect.isfunction):
        parameters = inspect.signature(check).parameters
        if name.startswith("test_") and "project" in parameters:
            check(**{parameter: given[parameter] for parameter in parameters})
            held.append(name)
    assert len(held) > 10
    shutil.copy(PROJECT_ROOT / "pyproject.toml", project_copy)
    lint = [sys.executable, "-m", "sqlfluff", "lint", "--nocolor", str(sql.relative_to(project_copy))]
    linted = subprocess.run(lint, cwd=project_copy, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout + linted.stderr
