"""Materializations of the project: what they carry out, what they refuse, and that dbt's own stay beside them."""

import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from orchestration.home import PROJECT_ROOT
from orchestration.transform.runner import close_warehouse

CLOCK = {"as_of": "2024-06-30 00:00:00", "build_id": "000001"}
# Config of a model -> what the message says of it.
REFUSED = {
    "materialized=in_place('table'), grants={'select': ['reader']}": "grants is not supported",
    "materialized=in_place('view'), persist_docs={'relation': true}": "persist_docs is not supported",
    "materialized=in_place('table'), indexes=[{'columns': ['id']}]": "indexes is not supported",
    "materialized=in_place('table'), sql_header='set threads = 1;'": "sql_header is not supported",
    "materialized=in_place('table'), post_hook={'sql': 'select 1', 'transaction': false}": "hook outside the",
    "materialized=in_place('incremental'), unique_key='id'": "unique_key is not supported",
    "materialized=in_place('incremental'), incremental_strategy='merge'": "merge is not supported",
    "materialized=in_place('incremental'), incremental_strategy='replace'": "meta lacks `replaces`",
    "materialized=in_place('incremental'), on_schema_change='ignore'": "ignore is not supported",
    "materialized=in_place('incremental'), on_schema_change='sync_all_columns'": "sync_all_columns is not supported",
}


class Warehouse:
    """A small dbt project with the real macros, and its warehouse."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "models").mkdir(parents=True)
        shutil.copytree(PROJECT_ROOT / "macros", folder / "macros")
        shutil.copy(PROJECT_ROOT / "profiles.yml", folder)
        declared = yaml.safe_load((PROJECT_ROOT / "dbt_project.yml").read_text())
        kept = {name: declared[name] for name in ("name", "version", "config-version", "profile", "flags", "vars")}
        kept["models"] = {"+schema": "checks", "+incremental_strategy": "append", "+on_schema_change": "fail"}
        (folder / "dbt_project.yml").write_text(yaml.safe_dump(kept))

    def write(self, name: str, text: str) -> None:
        (self.folder / "models" / name).write_text(text)

    def run(self, *arguments: str) -> dict[str, tuple[str, str]]:
        """Status and message of each model."""
        from dbt.cli.main import dbtRunner

        options = [
            "--project-dir",
            str(self.folder),
            "--profiles-dir",
            str(self.folder),
            "--quiet",
            "--log-level",
            "none",
        ]
        try:
            result = dbtRunner().invoke(["run", "--vars", yaml.safe_dump(CLOCK), *options, *arguments])
        finally:
            close_warehouse()
        assert result.result is not None, result.exception
        return {one.node.name: (str(one.status), " ".join(str(one.message).split())) for one in result.result}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "warehouse.duckdb")) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    made = Warehouse(tmp_path / "project")
    monkeypatch.setenv("TRAITHOUSE_HOME", str(made.folder))
    return made


def test_a_config_that_would_be_left_out_is_refused_with_model_and_config(warehouse: Warehouse) -> None:
    for number, config in enumerate(REFUSED):
        warehouse.write(f"model_{number}.sql", "{{ config(" + config + ") }}\nselect 1 as id")
    warehouse.write(
        "calculated.py",
        "def model(dbt, session):\n    dbt.config(materialized='table_in_place')\n    return session.sql('select 1')\n",
    )
    found = warehouse.run()
    for number, words in enumerate(REFUSED.values()):
        status, message = found[f"model_{number}"]
        assert status == "error"
        assert f"model_{number}: its config" in message and words in message, message
    status, message = found["calculated"]
    assert status == "error" and "python" in message, message


def test_what_is_set_for_every_model_is_carried_out(warehouse: Warehouse) -> None:
    for kind in ("table", "view", "incremental"):
        warehouse.write(
            f"a_{kind}.sql",
            "{{ config(materialized=in_place('" + kind + "'), tags=['t'], meta={'grain': ['id']}, partition_by='id',"
            " alias='named_"
            + kind
            + '\', post_hook="create table checks.hooked_{{ this.identifier }} as select 1") }}\n'
            "select 1 as id",
        )
    assert {status for status, _ in warehouse.run().values()} == {"success"}
    names = warehouse.query("select table_name from information_schema.tables where table_schema = 'checks'")
    assert {name for (name,) in names} == {
        f"{begin}named_{kind}" for kind in ("table", "view", "incremental") for begin in ("", "hooked_")
    }


def test_rows_are_added_only_to_a_table_of_the_same_columns_and_types(warehouse: Warehouse) -> None:
    def increment(columns: str) -> tuple[str, str]:
        warehouse.write("kept.sql", "{{ config(materialized=in_place('incremental')) }}\nselect " + columns)
        return warehouse.run()["kept"]

    assert increment("1 as id, 'a' as text")[0] == "success"
    assert increment("'b' as text, 2 as id")[0] == "success"
    for columns in (
        "3 as id",
        "3 as id, 'c' as text, true as more",
        "3 as id, 'c' as other",
        "cast(3 as double) as id, 'c' as text",
    ):
        status, message = increment(columns)
        assert (status, "kept: its columns or their types are not those of the table" in message) == ("error", True)
    assert warehouse.query("select id, text from checks.kept order by id") == [(1, "a"), (2, "b")]


def test_a_contract_is_enforced(warehouse: Warehouse) -> None:
    for kind in ("table", "view", "incremental"):
        warehouse.write(f"a_{kind}.sql", "{{ config(materialized=in_place('" + kind + "')) }}\nselect 1 as id")
        declared = {"name": f"a_{kind}", "config": {"contract": {"enforced": True}}}
        declared["columns"] = [{"name": "id", "data_type": "string"}]
        warehouse.write(f"a_{kind}.yml", yaml.safe_dump({"models": [declared]}))
    for status, message in warehouse.run().values():
        assert status == "error" and "contract" in message, message


def test_the_materializations_of_dbt_itself_are_untouched(warehouse: Warehouse) -> None:
    warehouse.write("plain.sql", "{{ config(materialized='table', indexes=[{'columns': ['id']}]) }}\nselect 1 as id")
    warehouse.write(
        "merged.sql",
        "{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='id') }}\n"
        "select 1 as id, {{ 2 if is_incremental() else 1 }} as run",
    )
    for _ in range(2):
        assert {status for status, _ in warehouse.run().values()} == {"success"}
    assert warehouse.query("select table_name from duckdb_indexes()") == [("plain",)]
    assert warehouse.query("from checks.merged") == [(1, 2)]
