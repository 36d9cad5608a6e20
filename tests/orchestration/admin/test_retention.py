"""Retention: old rows leave raw and ledger, and nothing that is known of later days changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestration.admin.retention import longest_window
from orchestration.errors import TraithouseError, UsageError
from orchestration.home import Home, Settings
from orchestration.landing.load import load
from orchestration.pipeline.forget import forget
from orchestration.pipeline.refresh import refresh
from orchestration.published.state import copy_prior_state
from orchestration.publishing.ledger import prune_ledger
from orchestration.transform.dbt import Project
from tests.conftest import NOW, queried
from tests.streams.harness import differing, frozen

LONG_AGO, LATELY = datetime(2022, 3, 1, 9), datetime(2024, 6, 20, 9)


def visits(user: str, start: datetime, days: int) -> list[dict[str, Any]]:
    """A page a day."""
    return [
        {"event_id": f"{user}-{at:%Y%m%d}", "user_id": user, "event_name": "page", "occurred_at": str(at)}
        for at in (start + timedelta(days=day) for day in range(days))
    ]


@pytest.fixture
def files(events_file: Callable[..., Path]) -> list[Path]:
    """An old user, then one of today and the old one again, then a late row of the old days."""
    return [
        events_file(visits("old", LONG_AGO, 20) + visits("new", LATELY, 3)),
        events_file(visits("old", LATELY, 5)),
        events_file(visits("old", LONG_AGO, 25)),
    ]


@pytest.mark.long
def test_increments_are_what_they_were_without_retention(
    tmp_path: Path, files: list[Path], project_in: Callable[[Home], Project]
) -> None:
    """Also when an old file is loaded again; the rebuild that would lose the old days has to be asked for."""
    whole = Home(Settings(home=tmp_path / "whole"))
    dropping = Home(Settings(home=tmp_path / "dropping", raw_days=400))
    for path in files:
        for home in (whole, dropping):
            load(home, [path], now=NOW)
            refresh(project_in(home), now=NOW)
    frozen(whole)
    assert differing(dropping, whole) == {}
    assert queried(whole, "select count(*) from raw.events where occurred_at < '2023-01-01'") == [(25,)]
    assert queried(dropping, "select count(*) from raw.events where occurred_at < '2023-01-01'") == [(0,)]
    deleted = queried(dropping, "select table_name, rows_deleted from state.retention order by deleted_at")
    assert deleted == [("raw.events", 20), ("raw.events", 25)]

    with dropping.connect() as connection:
        connection.execute("update state.watermark set fingerprint = 'of other definitions'")
    with pytest.raises(TraithouseError, match="raw rows from before 2023-05-22"):
        refresh(project_in(dropping), now=NOW)
    with pytest.raises(UsageError, match="Forgetting rebuilds everything"):
        forget(project_in(dropping), ["new"])
    refresh(project_in(dropping), now=NOW, full_refresh=True)
    assert queried(dropping, "select min(first_seen_at) from identity.dim_users") == [(LATELY,)]
    # Another rebuild loses nothing more.
    with dropping.connect() as connection:
        connection.execute("update state.watermark set fingerprint = 'of other definitions'")
    assert refresh(project_in(dropping), now=NOW)[0].build.full_refresh


def test_less_than_the_longest_window_is_refused(tmp_path: Path, project_in: Callable[[Home], Project]) -> None:
    home = Home(Settings(home=tmp_path / "home", raw_days=364))
    assert longest_window(project_in(home)) == 365
    with pytest.raises(UsageError, match="is 364, and the longest window of a feature is 365 days"):
        refresh(project_in(home))
    home = Home(Settings(home=tmp_path / "home", ledger_days=28))
    with pytest.raises(UsageError, match="stability is measured over 28 days"):
        refresh(project_in(home))


def test_the_ledger_tells_every_kept_state_without_its_old_rows(sample_home: Home, sample_project: Project) -> None:
    with sample_home.connect() as connection:
        connection.execute("delete from traits.trait_changes")
        connection.execute(
            """
            insert into traits.trait_changes by name
            with steps as (
                select unnest(range(40)) as day, entity_id, trait
                from (select distinct entity_id, trait from traits.trait_values limit 50)
            )
            select
                row_number() over (order by day, entity_id, trait) as seq, 'user' as entity_type, entity_id, trait,
                case when hash(entity_id, trait, day) % 5 = 0 then null else 'v' || day end as new_value,
                timestamp '2024-01-01' + interval 1 day * day as as_of, 'b' as build_id, 'behaviour' as cause
            from steps where hash(trait, entity_id, day) % 3 = 0
            """
        )
        horizon = datetime(2024, 1, 25)
        clocks = [horizon + timedelta(days=days) for days in range(0, 16, 3)]

        def states() -> list[Any]:
            found = []
            for clock in clocks:
                copy_prior_state(connection, sample_project.catalog, clock, "kept")
                found.append(connection.execute("from kept.trait_state order by all").fetchall())
            return found

        before = states()
        first = connection.execute(
            "select trait, min(as_of) from traits.trait_changes group by 1 order by 1"
        ).fetchall()
        assert prune_ledger(connection, horizon) > 100
        assert states() == before
        assert prune_ledger(connection, horizon) == 0
        again = connection.execute(
            "select trait, min(as_of) from traits.trait_changes group by 1 order by 1"
        ).fetchall()
        assert again == first


@pytest.mark.long
def test_a_refresh_prunes_the_ledger_but_nothing_that_a_kept_snapshot_rests_on(
    sample_home: Home, project_in: Callable[[Home], Project]
) -> None:
    with sample_home.connect() as connection:
        connection.execute(
            """
            insert into traits.trait_changes by name
            select
                seq - 10000 as seq, entity_type, entity_id, trait, 'x' as new_value,
                as_of - interval 90 day as as_of, 'b' as build_id, 'behaviour' as cause
            from traits.trait_changes
            """
        )
    home = Home(Settings(home=sample_home.root, ledger_days=30))
    refresh(project_in(home), now=NOW)
    (kept,) = queried(home, "select count(*) filter (build_id = 'b'), count(*) from traits.trait_changes")
    assert kept == (5400, 10800)  # each is the last before the horizon
    with home.connect() as connection:
        connection.execute("update traits.trait_changes set as_of = as_of - interval 60 day where build_id != 'b'")
    refresh(project_in(home), now=NOW)
    traits = len(queried(home, "select distinct trait from traits.trait_changes"))
    assert queried(home, "select count(*) from traits.trait_changes where build_id = 'b'") == [(traits,)]
