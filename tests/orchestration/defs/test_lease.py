"""The lease across Dagster's steps and other processes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.definitions import assembled
from orchestration.defs.instance import dagster_environment
from orchestration.errors import TraithouseError
from orchestration.home import PROJECT_ROOT, Home
from orchestration.landing.load import load
from orchestration.pipeline.refresh import publish_build, refresh, write_and_audit
from orchestration.transform.dbt import Project
from tests.conftest import queried
from tests.orchestration.defs import dagster_run

EVENTS = [{"user_id": "u1", "event_name": "x", "occurred_at": "2024-06-29"}]


@contextmanager
def running(home: Home, step: str) -> Iterator["subprocess.Popen[str]"]:
    """A Dagster run elsewhere; killed at the end, if it is still there."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.orchestration.defs.dagster_run", str(home.root), step],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=PROJECT_ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.long
def test_between_build_and_publish_of_a_dagster_run_others_may_load_and_not_refresh(
    sample_home: Home, sample_project: Project, events_file: Any
) -> None:
    with running(sample_home, "publish") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "built\n"
        begun = queried(sample_home, "select build_id from state.current_build")
        for change in (refresh, publish_build, write_and_audit):
            with pytest.raises(TraithouseError, match=r"`Dagster run \w+` \(process \d+\) has held it") as refused:
                change(sample_project)  # type: ignore[operator]
            assert refused.value.exit_code == 5
        assert load(sample_home, [events_file(EVENTS)]).accepted == 1
        process.communicate("go on\n")
        assert process.returncode == 0
    assert queried(sample_home, "select build_id from state.current_build") == begun
    assert sample_home.status()["last_refresh"]["build_id"] == begun[0][0]
    assert sample_home.leased() is None


@pytest.mark.long
def test_a_cancelled_run_ends_soon_and_frees_the_home(sample_home: Home, sample_project: Project) -> None:
    with running(sample_home, "build") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) != 0
    assert (sample_home.leased(), sample_home.busy()) == (None, None)
    refresh(sample_project)


def test_a_run_whose_build_fails_publishes_nothing_and_frees_the_home(
    sample_home: Home, sample_project: Project
) -> None:
    before = sample_home.status()["last_refresh"]
    job = assembled(sample_project).resolve_job_def("refresh")
    config = {"ops": {"warehouse": {"config": {"as_of": "2020-01-01"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False, run_config=config)
        steps = {event.step_key for event in result.all_events if event.is_step_success}
    assert not result.success
    assert "publishing" not in steps
    assert (sample_home.leased(), sample_home.status()["last_refresh"]) == (None, before)


def test_a_run_that_publishes_nothing_frees_the_home(sample_home: Home, sample_project: Project) -> None:
    job = assembled(sample_project).resolve_job_def("refresh")
    with dg.DagsterInstance.ephemeral() as instance:
        candidates = [dg.AssetKey(["candidates", "power_user"])]
        assert job.execute_in_process(instance=instance, asset_selection=candidates).success
    assert sample_home.leased() is None


@pytest.mark.long
def test_publishing_demands_the_build_that_its_run_has_begun(sample_home: Home, sample_project: Project) -> None:
    written = write_and_audit(sample_project)
    write_and_audit(sample_project)
    with pytest.raises(TraithouseError, match="Nothing was published") as refused:
        publish_build(sample_project, build_id=written.build.build_id)
    assert written.build.build_id in refused.value.message


@pytest.mark.long
def test_no_run_of_many_processes_is_green_that_published_the_build_of_another(
    sample_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in dagster_environment(sample_home).items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(sample_home.root / "dagster")) as instance:
        job = dg.reconstructable(dagster_run.in_many_processes)
        result = dg.execute_job(job, instance=instance, raise_on_error=False)
        failed = {event.step_key: event.step_failure_data.error for event in result.all_events if event.is_step_failure}
    assert not result.success
    assert list(failed) == ["publishing"]
    assert "of another run has replaced it. Nothing was published." in str(failed["publishing"])
    [(newest,)] = queried(sample_home, "select build_id from state.current_build")
    assert sample_home.status()["last_refresh"]["build_id"] == newest
