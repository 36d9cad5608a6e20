"""A Dagster run in a process of its own, which stops between its steps until it is told to go on.

``python -m tests.orchestration.defs.dagster_run HOME STEP``: with STEP ``build`` it prints ``begun`` when a build has
begun; with ``publish`` it prints ``built`` before it publishes, and waits for a line on stdin.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration.definitions import assembled
from orchestration.defs import publishing
from orchestration.defs.lease import RunLease
from orchestration.home import Home, Settings
from orchestration.transform.dbt import Project

publish_build = publishing.publish_build
note_build = RunLease.note_build


def stop(word: str) -> None:
    print(word, flush=True)
    sys.stdin.readline()


def publish_when_told(*arguments: Any, **named: Any) -> Any:
    stop("built")
    return publish_build(*arguments, **named)


def note_and_say(lease: RunLease, build_id: str) -> None:
    note_build(lease, build_id)
    print("begun", flush=True)


def publish_after_another(*arguments: Any, **named: Any) -> Any:
    """Another process makes a build of its own just before this one is published."""
    import subprocess

    command = [sys.executable, "-m", "orchestration", "refresh", "--home", os.environ["TRAITHOUSE_HOME"]]
    subprocess.run(command, check=True, capture_output=True)
    return publish_build(*arguments, **named)


def in_many_processes() -> dg.JobDefinition:
    """The refresh with a process a step, and a refresh elsewhere between building and publishing."""
    publishing.publish_build = publish_after_another  # type: ignore[assignment]
    assets = assembled(Project(Home()))
    return dg.Definitions.merge(
        dg.Definitions(
            assets=assets.assets,
            asset_checks=assets.asset_checks,
            resources=assets.resources,
            jobs=assets.jobs,
            executor=dg.multiprocess_executor.configured({"max_concurrent": 1}),
        )
    ).resolve_job_def("refresh")


def main(home: str, step: str) -> int:
    if step == "publish":
        publishing.publish_build = publish_when_told  # type: ignore[assignment]
    else:
        RunLease.note_build = note_and_say  # type: ignore[method-assign]
    project = Project(Home(Settings(home=Path(home))))
    job = assembled(project).resolve_job_def("refresh")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
