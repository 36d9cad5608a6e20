"""What each trait decides, by example: given rows of features, the SQL of trait and thresholds makes these values.

dbt's own unit tests do not show a model its YAML (dbt 1.11), where the rules stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from orchestration.home import Home, Settings
from orchestration.measurement.replay import ANY_CLOCK, last_date
from orchestration.transform.dbt import Project

CASES = [case for file in sorted(Path(__file__).parent.glob("*.yml")) for case in yaml.safe_load(file.read_text())]
ANY_POPULATION = 987_654_321


@pytest.fixture(scope="session")
def compiled(project: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name -> SQL of every model of a trait, with placeholders for the clock and the least population."""
    variables = {"as_of": str(ANY_CLOCK), "build_id": "x", "minimum_population": ANY_POPULATION}
    home = Home(Settings(home=tmp_path_factory.mktemp("compiled") / "home"))
    made = project.replace(home).compiled(select=["path:models/traits"], variables=variables)
    return {unique_id.split(".")[-1]: sql for unique_id, sql in made.items()}


@pytest.fixture
def warehouse() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("attach ':memory:' as warehouse; use warehouse; create schema candidates")
        yield connection


def inputs(project: Project) -> dict[str, Mapping[str, Any]]:
    """``schema.name`` -> node, of everything that a trait may read besides other traits."""
    nodes = (node for node in project.manifest_dict["nodes"].values() if node["schema"] == "features")
    sources = (node for node in project.manifest_dict["sources"].values() if node["schema"] in ("state", "learning"))
    return {f"{node['schema']}.{node['name']}": node for node in (*nodes, *sources)}


def fill(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Mapping[str, Any], rows: list[dict[str, Any]]
) -> None:
    """Makes a relation of its declared columns; what a row leaves out is false in a boolean, and null elsewhere."""
    connection.execute(f"create schema if not exists {relation.split('.')[0]}")
    typed = ", ".join(f'"{name}" {column["data_type"]}' for name, column in columns.items())
    connection.execute(f"create table {relation} ({typed})")
    for row in rows:
        assert {*row} <= {*columns}, (relation, {*row} - {*columns})
        values = [
            row.get(name, False if column["data_type"] == "boolean" else None) for name, column in columns.items()
        ]
        connection.execute(f"insert into {relation} values ({', '.join('?' for _ in values)})", values)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_trait_decides_as_its_examples_say(
    case: dict[str, Any], project: Project, compiled: dict[str, str], warehouse: duckdb.DuckDBPyConnection
) -> None:
    trait = project.catalog.trait(case["trait"])
    given = {"observed_behaviours": [{"behaviour": behaviour} for behaviour in trait.needs]} | case["given"]
    columns = {name: node["columns"] for name, node in inputs(project).items() if node["columns"]}
    for name in columns:
        fill(warehouse, name, columns[name], given.get(name) or given.get(name.removeprefix("features."), []))
    for upstream in trait.upstream_traits:
        node = project.manifest_dict["nodes"][f"model.{project.name}.{upstream}"]
        fill(warehouse, f"candidates.{upstream}", node["columns"], given.get(upstream, []))
    clock = datetime.fromisoformat(case["as_of"])
    for name in filter(None, (trait.thresholds_model, trait.name)):
        sql = compiled[name].replace(str(ANY_CLOCK), str(clock))
        sql = sql.replace(str(last_date(ANY_CLOCK, project.time_zone)), str(last_date(clock, project.time_zone)))
        sql = sql.replace(str(ANY_POPULATION), str(case.get("minimum_population", 50)))
        warehouse.execute(f"create table candidates.{name} as {sql}")
    wanted = list(case["expect"][0])
    found = warehouse.execute(f"select {', '.join(wanted)} from candidates.{trait.name}").fetchall()
    expected = [tuple(row[column] for column in wanted) for row in case["expect"]]
    assert sorted(found, key=str) == sorted(expected, key=str)
