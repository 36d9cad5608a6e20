"""Published tables in another database: a real Postgres, a real MariaDB, and SQLite for plain tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestration.declarations.table_copies import TableCopy
from orchestration.errors import UsageError
from orchestration.home import Home
from orchestration.publishing.publish import publish
from orchestration.sync.report import CopyReport
from orchestration.sync.tables import copy_tables
from orchestration.transform.dbt import Project
from tests.builds import FLIP, next_build
from tests.conftest import served
from tests.mariadb import running_mariadb
from tests.postgres import Server, running_server

WAREHOUSE = TableCopy(name="warehouse", description="Traits for BI.", url_env="BI_URL", into="traits")
USERS = "select * from traits.user_traits where is_anonymous is not true"
COLUMNS = "user_id, power_user, power_user_score, power_user_since, lifecycle_stage"
TABLES = "select table_name from information_schema.tables where table_schema = 'traits'"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as made:
        yield made


@pytest.fixture
def postgres(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Postgres with an empty schema, its connection string in BI_URL."""
    server.execute("drop schema if exists traits cascade", "create schema traits")
    monkeypatch.setenv("BI_URL", server.dsn)
    return server


@pytest.fixture
def production(sample_home: Home, sample_project: Project) -> tuple[Home, Project]:
    """A published home whose syncs are not dry."""
    home = Home(sample_home.settings.model_copy(update={"env": "production"}))
    return home, sample_project.replace(home)


def there(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Rows in the other database."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(sql))]


def users_are_equal(home: Home, url: str) -> bool:
    """Whether the other database has the published users, value for value."""
    rows = there(url, f"select {COLUMNS} from traits.user_traits")
    return sorted(rows, key=str) == sorted(served(home, f"select {COLUMNS} from ({USERS})"), key=str)


def counts(report: CopyReport) -> dict[str, tuple[int, int, bool]]:
    """Rows written, rows deleted, and whether the whole table was compared."""
    assert report.error == ""
    return {table.table: (table.written, table.deleted, table.compared) for table in report.tables}


def test_the_tables_hold_what_is_published_and_then_changed_rows_alone_are_written(
    production: tuple[Home, Project], postgres: Server
) -> None:
    home, project = production
    users = len(served(home, USERS))
    changes = len(served(home, "select 1 from traits.trait_changes where is_anonymous is not true"))
    assert counts(copy_tables(home, project.catalog, WAREHOUSE)) == {
        "user_traits": (users, 0, True),
        "account_traits": (0, 0, True),
        "trait_changes": (changes, 0, True),
    }
    assert users_are_equal(home, postgres.url)
    assert set(counts(copy_tables(home, project.catalog, WAREHOUSE)).values()) == {(0, 0, False)}
    next_build(project, FLIP)
    with home.lock("test"):
        assert publish(project).snapshot
    third = counts(copy_tables(home, project.catalog, WAREHOUSE))
    assert third["trait_changes"] == (1, 0, False)
    written, deleted, compared = third["user_traits"]
    assert 1 <= written < users
    assert (deleted, compared) == (0, False)
    assert users_are_equal(home, postgres.url)


def test_columns_say_what_they_mean(production: tuple[Home, Project], postgres: Server) -> None:
    home, project = production
    copy_tables(home, project.catalog, WAREHOUSE)
    said = """
        select c.column_name, col_description(('traits.' || c.table_name)::regclass, c.ordinal_position)
        from information_schema.columns as c where c.table_schema = 'traits'
    """
    texts = dict(there(postgres.url, said))
    assert texts["power_user"].startswith(project.catalog.trait("power_user").title)
    assert all(texts.values()), texts
    of_table = "select obj_description('traits.user_traits'::regclass)"
    assert "one row a user" in there(postgres.url, of_table)[0][0]


def test_what_somebody_changed_there_is_put_right(production: tuple[Home, Project], postgres: Server) -> None:
    home, project = production
    copy_tables(home, project.catalog, WAREHOUSE)
    postgres.execute(
        "delete from traits.user_traits where user_id in (select user_id from traits.user_traits limit 2)",
        "alter table traits.user_traits drop column power_user_score, add column retired_score double precision",
        "update traits.user_traits set retired_score = 1",
    )
    assert counts(copy_tables(home, project.catalog, WAREHOUSE))["user_traits"][1:] == (0, True)
    assert users_are_equal(home, postgres.url)
    assert there(postgres.url, "select count(retired_score) from traits.user_traits") == [(0,)]


def test_outside_production_nothing_is_written(sample_home: Home, sample_project: Project, postgres: Server) -> None:
    report = copy_tables(sample_home, sample_project.catalog, WAREHOUSE)
    assert report.dry_run
    assert "production" in report.why_dry
    assert there(postgres.url, TABLES) == []


def test_a_refused_copy_changes_nothing_and_says_why_without_the_password(
    production: tuple[Home, Project], postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project = production
    postgres.execute("create table traits.trait_changes (seq boolean)")
    report = copy_tables(home, project.catalog, WAREHOUSE)
    assert "BI_URL refused" in report.error
    assert there(postgres.url, TABLES) == [("trait_changes",)]
    monkeypatch.setenv("BI_URL", "postgresql://reader:s3cret@127.0.0.1:1/none")
    with pytest.raises(UsageError) as error:
        copy_tables(home, project.catalog, WAREHOUSE)
    assert "s3cret" not in f"{error.value} {error.value.__context__!r}"


def test_plain_tables_go_into_any_database(
    production: tuple[Home, Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project = production
    url = f"sqlite:///{tmp_path / 'bi.sqlite'}"
    monkeypatch.setenv("BI_URL", url)
    plain = WAREHOUSE.model_copy(update={"into": "", "tables": ("user_traits",)})
    copy_tables(home, project.catalog, plain)
    assert counts(copy_tables(home, project.catalog, plain)) == {"user_traits": (0, 0, False)}
    assert there(url, "select count(*) from user_traits") == served(home, f"select count(*) from ({USERS})")


@pytest.mark.long
def test_a_mariadb_holds_the_same_rows(production: tuple[Home, Project], monkeypatch: pytest.MonkeyPatch) -> None:
    home, project = production
    with running_mariadb() as maria:
        maria.execute("create database traits", "grant all on traits.* to reader@'127.0.0.1'")
        monkeypatch.setenv("BI_URL", maria.url)
        copy_tables(home, project.catalog, WAREHOUSE)
        assert set(counts(copy_tables(home, project.catalog, WAREHOUSE)).values()) == {(0, 0, False)}
        # A row less there: the whole table is compared, and every other row is found equal.
        maria.execute("delete from traits.user_traits limit 1")
        assert counts(copy_tables(home, project.catalog, WAREHOUSE))["user_traits"] == (1, 0, True)
        assert users_are_equal(home, maria.url.replace("mariadb://", "mariadb+pymysql://"))
