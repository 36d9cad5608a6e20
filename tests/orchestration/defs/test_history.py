"""History: one asset a trait, one partition a day, filled by one run."""

from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import PartitionLoadingContext
from dagster._core.definitions.temporal_context import TemporalContext

from orchestration.definitions import assembled
from orchestration.defs.history import partitions
from orchestration.home import Home, utc_now
from orchestration.transform.dbt import Project
from tests.conftest import queried

KEY = dg.AssetKey(["history", "dormant"])
FIRST, LAST = "2024-06-26", "2024-06-28"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def backfilled(project: Project, instance: dg.DagsterInstance, first: str, last: str) -> Any:
    """One run over a range of partitions, as Dagster's own backfill starts it."""
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    job = assembled(project).resolve_implicit_job_def_def_for_assets([KEY])
    assert job is not None
    return job.execute_in_process(instance=instance, asset_selection=[KEY], tags=tags, raise_on_error=False)


def test_one_run_fills_all_its_days_with_numbers(
    sample_home: Home, sample_project: Project, instance: dg.DagsterInstance
) -> None:
    assert backfilled(sample_project, instance, FIRST, LAST).success
    assert instance.get_materialized_partitions(KEY) == {"2024-06-26", "2024-06-27", "2024-06-28"}
    records = instance.fetch_materializations(KEY, limit=10).records
    assert len(records) == 3
    for record in records:
        assert record.asset_materialization
        metadata = record.asset_materialization.metadata
        assert isinstance(metadata["members"], dg.IntMetadataValue)
        assert isinstance(metadata["prevalence"], dg.FloatMetadataValue)
    assert queried(sample_home, "select trait, count(*) from state.backfilled_days group by trait") == [("dormant", 3)]
    # Days that are there already stay as they are, and are no failure.
    assert backfilled(sample_project, instance, FIRST, LAST).success
    assert queried(sample_home, "select count(*) from state.backfilled_days") == [(3,)]


def test_partitions_go_from_the_first_event_to_the_last_refresh(sample_home: Home, sample_project: Project) -> None:
    days = partitions(sample_home, sample_project.time_zone).get_partition_keys()
    [(first,)] = queried(sample_home, "select min(activity_date)::varchar from activity.fct_user_activity_daily")
    assert (days[0], days[-1]) == (first, "2024-06-29")
    # So the page asks for the newest days; it did not with an end_date.
    context = PartitionLoadingContext(
        temporal_context=TemporalContext(effective_dt=utc_now().replace(tzinfo=UTC), last_event_id=None),
        dynamic_partitions_store=None,
    )
    newest = partitions(sample_home, sample_project.time_zone).get_paginated_partition_keys(context, 2, ascending=False)
    assert newest.results == ["2024-06-29", "2024-06-28"]


def test_a_home_that_is_alive_gets_a_partition_each_day(home: Home, project: Project) -> None:
    home.note(first_event_day="2024-06-01", last_refresh={"as_of": str(utc_now() - timedelta(hours=1))})
    days = partitions(home, project.time_zone)
    assert days.get_first_partition_window() is not None
    assert days.get_last_partition_key() == str((utc_now() - timedelta(days=1)).date())


def test_an_empty_home_has_no_days_and_loads(home: Home, project_in: Any) -> None:
    assert partitions(home, "UTC").get_partition_keys() == []
    dg.Definitions.validate_loadable(assembled(project_in(home)))


def test_no_refresh_waits_for_history(home: Home, project_in: Any) -> None:
    definitions = assembled(project_in(home))
    for name in ("refresh", "land_and_refresh"):
        keys = definitions.resolve_job_def(name).asset_layer.selected_asset_keys
        assert keys
        assert {key.path[0] for key in keys}.isdisjoint({"history", "learning"})
