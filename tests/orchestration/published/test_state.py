"""The prior state that hysteresis reads."""

from datetime import datetime

from orchestration.declarations.catalog import Catalog
from orchestration.home import Home
from orchestration.published.state import copy_prior_state
from orchestration.published.tables import PUBLISHED_TABLES
from tests.conftest import queried

MONDAY, TUESDAY, NOON = datetime(2025, 6, 2), datetime(2025, 6, 3), datetime(2025, 6, 3, 12)


def state_at(home: Home, grid_point: datetime) -> list[tuple[object, ...]]:
    with home.connect() as connection:
        connection.execute(PUBLISHED_TABLES)
        connection.execute("delete from traits.trait_values; delete from traits.trait_changes")
        connection.execute(
            """
            insert into traits.trait_values by name
            select 'user' as entity_type, unnest(['stays', 'flips', 'new']) as entity_id, 't' as trait,
                unnest(['true', 'false', 'true']) as value,
                unnest([$monday, $noon, $noon]) as since
            """,
            {"monday": MONDAY, "noon": NOON},
        )
        connection.executemany(
            "insert into traits.trait_changes values (?, 'user', ?, 't', ?, ?, ?, ?, 'b', 'behaviour', false)",
            [
                [1, "stays", None, "true", None, MONDAY],
                [2, "flips", None, "true", None, MONDAY],
                [3, "gone", None, "true", None, MONDAY],
                [4, "flips", "true", "false", MONDAY, NOON],
                [5, "new", None, "true", None, NOON],
                [6, "gone", "true", None, MONDAY, NOON],
            ],
        )
        copy_prior_state(connection, Catalog(traits=(), syncs=()), grid_point)
    return queried(home, "select entity_id, value, since from state.trait_state order by entity_id")


def test_changes_after_the_grid_point_are_taken_back(home: Home) -> None:
    before = [("flips", "true", MONDAY), ("gone", "true", MONDAY), ("stays", "true", MONDAY)]
    assert state_at(home, TUESDAY) == before
    assert state_at(home, MONDAY) == before


def test_changes_up_to_the_grid_point_stand(home: Home) -> None:
    assert state_at(home, NOON) == [("flips", "false", NOON), ("new", "true", NOON), ("stays", "true", MONDAY)]


def test_before_the_first_publish_there_is_no_state(home: Home) -> None:
    assert state_at(home, datetime(2025, 6, 1)) == []
