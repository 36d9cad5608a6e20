"""The command line and the Dagster asset pull what the project's sources declare."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from click.testing import CliRunner

from orchestration.cli import app as cli
from orchestration.defs.landing import land
from orchestration.home import Home, Settings, silent
from tests.conftest import queried
from tests.orchestration.landing.conftest import one_pull
from tests.postgres import Server


@pytest.fixture
def declaring(project_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose project pulls raw.events from a folder and the orders of a shop from Postgres."""
    file = project_copy / "models" / "staging" / "generic" / "_generic.yml"
    declared = yaml.safe_load(file.read_text())
    declared["sources"][0]["tables"][0]["config"] = {"meta": {"pull": {"parquet": "env:APP_EXPORT/*.parquet"}}}
    orders = {"url_env": "SHOP_DSN", "table": "sales.orders", "cursor": "received_at", "overlap": "1 hour"}
    visits = {"engine": "redshift", "table": "web.visits", "cursor": "received_at", "to": "s3://exports/visits"}
    for name, table, pull in (("shop", "orders", {"database": orders}), ("web", "visits", {"unload": visits})):
        # Declared for the source, that is for each of its tables.
        source = {"name": f"raw_{name}", "schema": f"raw_{name}", "config": {"meta": {"pull": pull}}}
        tables = [{"name": table, "description": "Rows."}]
        declared["sources"].append(source | {"description": "A shop.", "tables": tables})
    file.write_text(yaml.safe_dump(declared))
    monkeypatch.setenv("TRAITHOUSE_PROJECT", str(project_copy))
    monkeypatch.setenv("APP_EXPORT", str(tmp_path / "export"))
    monkeypatch.delenv("SHOP_DSN", raising=False)
    (tmp_path / "export").mkdir()
    duckdb.execute(
        f"""
        copy (select 'u1' as user_id, 'Opened' as event_name, timestamp '2025-06-01 10:00:00' as occurred_at)
        to '{tmp_path / "export" / "a.parquet"}' (format parquet)
        """
    )
    return Home(Settings(home=tmp_path / "home", project=project_copy))


@pytest.mark.long
def test_the_command_pulls_everything_that_is_declared(declaring: Home, server: Server, monkeypatch: Any) -> None:
    def call(*arguments: str) -> Any:
        return CliRunner().invoke(cli.main, ["pull", *arguments, "--home", str(declaring.root)])

    events = call("raw", "--json")
    assert events.exit_code == 0
    assert [(report["table"], report["accepted"]) for report in json.loads(events.stdout)["pulls"]] == [
        ("raw.events", 1)
    ]
    unset = call("shop")
    assert unset.exit_code == 2
    assert "pull.database.url_env: the environment variable SHOP_DSN is not set" in unset.stdout
    server.execute(
        "drop schema if exists sales cascade",
        "create schema sales",
        "create table sales.orders as select 1 as id, timestamptz '2025-06-02Z' as received_at",
    )
    monkeypatch.setenv("SHOP_DSN", server.dsn)
    first = call("shop", "--debug")
    assert first.exit_code == 0
    assert "1 loaded into raw_shop.orders" in first.stdout
    assert "from database sales.orders: 1 row, 50 bytes; every row" in first.stdout
    again = json.loads(call("shop", "--json").stdout)["pulls"][0]
    assert {name: again[name] for name in ("rows", "bytes", "predicate")} == {
        "rows": 1,
        "bytes": 50,
        "predicate": "received_at >= '2025-06-01 23:00:00+00:00' OR received_at IS NULL",
    }
    plan = call("web", "--plan")
    assert plan.exit_code == 0
    assert plan.stdout == (
        "-- raw_web.visits\n"
        'UNLOAD (\'SELECT * FROM "web"."visits"\')\n'
        "TO 's3://exports/visits/all/' IAM_ROLE default FORMAT AS PARQUET ALLOWOVERWRITE;\n"
        "-- Next: traithouse pull\n"
    )
    assert list(json.loads(call("--plan", "--json").stdout)["statements"]) == ["raw_web.visits"]
    unplanned = call("shop", "--plan")
    assert unplanned.exit_code == 2
    assert "Nothing is unloaded: no table declares pull.unload" in unplanned.output
    monkeypatch.setenv("SHOP_DSN", server.dsn.replace("s3cr3t", "s3cr3t-wrong"))
    refused = call("shop", "--debug", "--json")
    assert refused.exit_code == 2
    assert "s3cr3t" not in refused.output
    wrong = call("shopp")
    assert wrong.exit_code == 2
    assert "shopp does not declare where to pull from" in wrong.output


def test_the_landing_asset_pulls_instead_of_loading_the_sample(declaring: Home) -> None:
    pulls = [
        one_pull({"parquet": "env:APP_EXPORT/*.parquet"}, source="raw", table="events"),
        one_pull({"parquet": "env:APP_EXPORT/none/*.parquet"}),
    ]
    landed = land(declaring, silent, pulls)
    assert (landed.accepted, list(landed.refused)) == (1, ["raw_shop.orders"])
    assert queried(declaring, "select distinct source from raw.events") == [("generic",)]
