"""What the command line did, in Dagster's instance: every event once, also when a drain was killed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from orchestration.definitions import assembled
from orchestration.defs.instance import write_instance
from orchestration.defs.reporting import drain
from orchestration.home import PROJECT_ROOT, Home
from orchestration.pipeline.asset_events import Checked, Materialized
from orchestration.pipeline.outbox import append, segments
from orchestration.transform.dbt import Project

EVENTS = [
    Materialized(("traits", "dormant"), {"members": 37, "prevalence": 0.0617, "missing": None}, {"path": "/x"}),
    Materialized(("history", "dormant"), {"members": 5}, partition="2024-06-01"),
    Materialized(("history", "dormant"), {"members": 6}, partition="2024-06-02"),
    Checked(("candidates", "dormant"), "grain", False, True, "found two", {"observed": "two"}),
    Materialized(("traits", "dormant"), {"members": 38, "prevalence": 0.0633}),
    Checked(("candidates", "dormant"), "grain", True, True, "found nothing", {"observed": ""}),
]

KILLED = """
import os, signal, sys
from pathlib import Path
import dagster as dg
from orchestration.defs.reporting import drain
from orchestration.home import Home, Settings

home = Home(Settings(home=Path(sys.argv[1])))
report, left = dg.DagsterInstance.report_runless_asset_event, int(sys.argv[2])

def dying(instance, event):
    global left
    report(instance, event)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

dg.DagsterInstance.report_runless_asset_event = dying
with dg.DagsterInstance.from_config(str(home.root / "dagster")) as instance:
    drain(home, instance)
"""


@pytest.fixture
def instance(home: Home) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(write_instance(home))) as made:
        yield made


def reported(instance: dg.DagsterInstance) -> list[Any]:
    """Members of each materialization and outcome of each check, oldest first."""
    found: list[Any] = []
    for key in (["traits", "dormant"], ["history", "dormant"]):
        records = instance.fetch_materializations(dg.AssetKey(key), limit=100, ascending=True).records
        found += [record.asset_materialization.metadata["members"].value for record in records]  # type: ignore[union-attr]
    check = dg.AssetCheckKey(dg.AssetKey(["candidates", "dormant"]), "grain")
    history = instance.event_log_storage.get_asset_check_execution_history(check, limit=100)
    return [*found, *(record.status.value for record in reversed(history))]


ALL = [37, 38, 5, 6, "FAILED", "SUCCEEDED"]


def test_every_event_is_reported_once_with_numbers_as_numbers(home: Home, instance: dg.DagsterInstance) -> None:
    append(home, EVENTS[:3])
    append(home, EVENTS[3:])
    assert drain(home, instance) == len(EVENTS)
    assert drain(home, instance) == 0
    assert reported(instance) == ALL
    [newest] = instance.fetch_materializations(dg.AssetKey(["traits", "dormant"]), limit=1).records
    assert newest.asset_materialization
    metadata = newest.asset_materialization.metadata
    assert isinstance(metadata["members"], dg.IntMetadataValue)
    assert isinstance(metadata["prevalence"], dg.FloatMetadataValue)
    assert isinstance(metadata["recorded_at"], dg.TimestampMetadataValue)


@pytest.mark.parametrize("number", [1, 4, len(EVENTS)])
def test_a_drain_that_was_killed_after_a_report_is_gone_on_with(
    home: Home, instance: dg.DagsterInstance, number: int
) -> None:
    append(home, EVENTS)
    child = subprocess.run([sys.executable, "-c", KILLED, str(home.root), str(number)], cwd=PROJECT_ROOT)
    assert child.returncode == -signal.SIGKILL
    append(home, EVENTS[:1])
    assert drain(home, instance) == len(EVENTS) - number + 1 + 1
    assert reported(instance) == [37, 38, 37, *ALL[2:]]
    assert segments(home.root / "dagster") == []
    assert list((home.root / "dagster").glob("*.reported")) == []


def test_a_sensor_reports_while_dagster_is_open(home: Home, project_in: Any, instance: dg.DagsterInstance) -> None:
    project: Project = project_in(home)
    sensor = assembled(project).resolve_sensor_def("command_line_runs")
    append(home, EVENTS)
    with dg.build_sensor_context(instance=instance) as context:
        said = sensor(context)
    assert isinstance(said, dg.SkipReason)
    assert "6 events" in str(said.skip_message)
    assert reported(instance) == ALL
