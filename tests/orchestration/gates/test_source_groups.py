"""Groups whose usual users are all missing: on workdays and weekends, and what is no loss."""

from __future__ import annotations

import random
from datetime import date, timedelta

import duckdb
import pytest

from orchestration.gates.source_days import SOURCE_DAY_TABLES
from orchestration.gates.source_groups import measure_groups

FRIDAY, SATURDAY = date(2024, 6, 7), date(2024, 6, 8)
USERS = 200
# User -> account: ten users in each. Every fourth account has another plan, every tenth user lives elsewhere.
ACCOUNT = {user: f"acc_{user // 10:02d}" for user in range(USERS)}


@pytest.fixture
def source() -> duckdb.DuckDBPyConnection:
    """Ten weeks in which users come on four of five days, weekends included."""
    chance = random.Random(4)
    connection = duckdb.connect()
    connection.execute(SOURCE_DAY_TABLES)
    connection.execute(
        """
        create schema identity;
        create table identity.dim_users (user_key bigint, user_id varchar);
        create table identity.memberships (user_key bigint, account_id varchar, is_current boolean);
        create table identity.attributes (
            entity_type varchar, entity_id varchar, attribute varchar, value varchar,
            valid_from timestamp, valid_to timestamp
        )
        """
    )
    days = [SATURDAY - timedelta(days=number) for number in range(70)]
    came = [(day, user) for day in days for user in range(USERS) if chance.random() < 0.8]
    connection.execute(
        "insert into state.source_users select 'web', unnest($days), unnest($users)",
        {"days": [day for day, _ in came], "users": [user for _, user in came]},
    )
    for user, account in ACCOUNT.items():
        connection.execute("insert into identity.dim_users values ($1, $2)", [user, f"u{user}"])
        connection.execute("insert into identity.memberships values ($1, $2, true)", [user, account])
        country = "Iceland" if user % 10 == 0 else "Norway"
        said = "insert into identity.attributes values ($1, $2, $3, $4, timestamp '2024-01-01', null)"
        connection.execute(said, ["user", f"u{user}", "country", country])
    for number, account in enumerate(sorted(set(ACCOUNT.values()))):
        connection.execute(said, ["account", account, "plan", "pro" if number % 4 == 0 else "free"])
    return connection


def lose(connection: duckdb.DuckDBPyConnection, day: date, which: str) -> None:
    connection.execute(f"delete from state.source_users where day = $1 and {which}", [day])


@pytest.mark.parametrize("day", [FRIDAY, SATURDAY])
@pytest.mark.parametrize(
    ("which", "named"),
    [
        ("user_key // 10 = 3", "account acc_03"),
        ("user_key // 10 % 4 = 0", "plan pro"),
        ("user_key % 10 = 0", "iceland"),
    ],
)
def test_a_group_without_any_of_its_usual_users_is_named(
    source: duckdb.DuckDBPyConnection, day: date, which: str, named: str
) -> None:
    assert measure_groups(source, "web", day).value == 0
    lose(source, day, which)
    found = measure_groups(source, "web", day)
    assert found.value
    assert named in found.observed


def test_a_day_on_which_hardly_anybody_comes_is_no_loss(source: duckdb.DuckDBPyConnection) -> None:
    lose(source, FRIDAY, "user_key % 20 != 7")
    assert measure_groups(source, "web", FRIDAY).value == 0


def test_an_account_that_stays_away_now_and_then_is_no_loss(source: duckdb.DuckDBPyConnection) -> None:
    for weeks in (2, 4, 6):
        lose(source, FRIDAY - timedelta(weeks=weeks), "user_key // 10 = 5")
    lose(source, FRIDAY, "user_key // 10 = 5")
    assert measure_groups(source, "web", FRIDAY).value == 0


def test_an_account_that_left_is_missed_no_longer_than_a_week(source: duckdb.DuckDBPyConnection) -> None:
    for days in range(9):
        lose(source, FRIDAY - timedelta(days=days), "user_key // 10 = 5")
    assert measure_groups(source, "web", FRIDAY).value == 0
    assert measure_groups(source, "web", FRIDAY - timedelta(days=6)).value


def test_a_source_that_is_new_is_compared_with_nothing(source: duckdb.DuckDBPyConnection) -> None:
    source.execute("delete from state.source_users where day < $1", [FRIDAY - timedelta(days=10)])
    assert measure_groups(source, "web", FRIDAY).value is None
