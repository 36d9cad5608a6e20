"""One more trait is one SQL file and one YAML entry; taking it away again leaves no trace."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from orchestration.defs import publishing, warehouse
from orchestration.home import Home
from orchestration.pipeline.refresh import refresh
from orchestration.serving.explain import explain
from orchestration.sync.engine import run_sync
from orchestration.transform.dbt import Project
from tests.conftest import queried, served

SQL = """
with user_features as (

    select * from {{ ref('user_features') }}

),

final as (

    select
        cast(user_features.user_id as string) as user_id,
        cast(user_features.silent_days >= 28 as boolean) as value,
        cast(null as double) as score,
        cast({{ evidence(
            rule="case when user_features.silent_days >= 28 then 'silent' else 'awake' end",
            eligible='true',
            features={'silent_days': 'user_features.silent_days'},
            thresholds={'silent_days_needed': '28'},
        ) }} as string) as evidence,
        cast({{ as_of() }} as timestamp) as as_of
    from user_features

)

select * from final
"""

ENTRY = {
    "name": "asleep",
    "description": "Users who have been silent for four weeks. Grain is one row a user that has been seen.",
    "config": {
        "contract": {"enforced": True},
        "meta": {
            "grain": ["user_id"],
            "trait": {
                "title": "Asleep",
                "entity": "user",
                "type": "boolean",
                "owner": "lifecycle",
                "version": 1,
                "needs": [],
                "purpose": "Lifecycle stops mailing them.",
                "enter": {"silent": "Silent for {silent_days} days, {silent_days_needed} or more."},
                "exit": {"awake": "Silent for {silent_days} days, fewer than {silent_days_needed}."},
                "outcome": {"title": "28 days of silence", "silence": True},
            },
        },
    },
    "columns": [
        {"name": "user_id", "data_type": "string", "description": "The user."},
        {"name": "value", "data_type": "boolean", "description": "Whether the user has the trait."},
        {"name": "score", "data_type": "double", "description": "None."},
        {"name": "evidence", "data_type": "string", "description": "JSON object text."},
        {"name": "as_of", "data_type": "timestamp", "description": "Exclusive upper bound; UTC."},
    ],
}


@pytest.fixture
def changed_home(sample_home: Home, project_copy: Path) -> Home:
    return Home(sample_home.settings.model_copy(update={"project": project_copy}))


def asset_names(home: Home, project: Project) -> set[str]:
    graph = dg.Definitions.merge(
        warehouse.definitions(home, project), publishing.definitions(home, project)
    ).resolve_asset_graph()
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


def test_a_fourth_trait_touches_two_files_and_leaves_no_trace(changed_home: Home, project_copy: Path) -> None:
    home = changed_home
    run_sync(home, Project(home).catalog, Project(home).catalog.sync("outbox"))
    before = asset_names(home, Project(home))

    sql, entries = (
        project_copy / "models/traits/users/asleep.sql",
        project_copy / "models/traits/users/_users.yml",
    )
    original = entries.read_text()
    sql.write_text(SQL)
    entries.write_text(original + "\n" + "\n".join(f"  {line}" for line in yaml.safe_dump([ENTRY]).splitlines()) + "\n")

    added = Project(home)
    _, report = refresh(added)
    assert {trait.trait: trait.verdict for trait in report.traits}["asleep"] == "passed"
    assert mentions(home, "asleep") == {
        "column asleep",
        "column asleep_score",
        "column asleep_since",
        "trait_values",
        "trait_catalog",
        "trait_thresholds",
        "candidate",
    }
    synced = run_sync(home, added.catalog, added.catalog.sync("outbox"))
    assert synced.delivered == 600
    assert asset_names(home, added) - before >= {
        "candidates/asleep",
        "traits/asleep",
        "candidates/asleep/grain",
    }
    [explained] = explain(home, added.catalog, "user_0000", trait="asleep")
    assert explained["now"] == "Silent for 11 days, fewer than 28."

    sql.unlink()
    entries.write_text(original)
    removed = Project(home)
    refresh(removed)
    assert mentions(home, "asleep") == set()
    assert asset_names(home, removed) == before
    cleared = run_sync(home, removed.catalog, removed.catalog.sync("outbox"))
    assert cleared.delivered == 600
    retired = "from traits.trait_changes where trait = 'asleep' and cause = 'retirement'"
    assert served(home, f"select count(*), count(distinct seq) {retired}") == [(600, 600)]
