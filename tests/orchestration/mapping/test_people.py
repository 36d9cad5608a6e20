"""Properties of users and accounts, and plans, that the catalogue lacks."""

import duckdb
import pytest

from orchestration.home import PROJECT_ROOT
from orchestration.mapping.people import attribute_row, people_rows, plan_rank
from orchestration.mapping.seeds import ATTRIBUTES, EVENTS, PLANS

ROWS = """
    create schema staging;
    create view staging.stg_segment__events as
    select * from (values
        ('identify', '{"email": "a@example.com", "jobTitle": "cook", "tier": "Gold", "signed_up_at": "2025-01-01"}'),
        ('identify', '{"plan": "Pro Annual", "shoe_size": 44, "tier": null}'),
        ('identify', 'no JSON'),
        ('identify', '["a list"]'),
        ('group', '{"seats": 5, "plan": "enterprise", "industry": "food", "plan_name": "Scale (v2)"}'),
        ('track', '{"$set": {"trial_end_at": "2025-02-01"}, "price": 5}'),
        ('track', '{"seats": 5, "plan": "not said of a user"}'),
        ('alias', '{"plan": "neither"}')
    ) as t (event_type, properties)
"""


def test_what_calls_say_of_users_and_accounts_is_proposed() -> None:
    with duckdb.connect() as connection:
        connection.execute(ROWS)
        attributes, plans = people_rows(connection, PROJECT_ROOT)
        # The connection has survived text that is no JSON.
        assert connection.execute("select 1").fetchone() == (1,)
    assert {(row.entity_type, row.property): (row.attribute, row.guess) for row in attributes} == {
        ("account", "industry"): ("industry", False),
        ("account", "plan_name"): ("plan", False),
        ("user", "jobTitle"): ("role", False),
        ("user", "signed_up_at"): ("created_at", False),
        ("user", "tier"): ("plan", True),
        ("user", "trial_end_at"): ("trial_end", False),
    }
    assert {row.plan: row.rank for row in plans} == {"gold": "", "pro annual": "2", "scale (v2)": "3"}


@pytest.mark.parametrize(
    ("plan", "rank"),
    [
        ("free", "0"),
        ("pro_yearly", "2"),
        ("Business Plan", "3"),
        ("gold", ""),
        ("pro max", ""),
        ("free pro", ""),
        ("2025", ""),
        ("", ""),
    ],
)
def test_a_rank_is_told_by_common_names_only(plan: str, rank: str) -> None:
    assert plan_rank(plan) == rank


def test_a_property_that_says_nothing_known_is_left_alone() -> None:
    assert attribute_row("user", "favourite_colour", 1) is None
    assert attribute_row("user", "marketing_opt_in", 1) is None
    assert attribute_row("user", "seats", 1) is None


def test_the_files_of_the_catalogue_have_the_columns_that_are_written() -> None:
    for seed in (EVENTS, ATTRIBUTES, PLANS):
        assert seed.rows(PROJECT_ROOT), seed.path
