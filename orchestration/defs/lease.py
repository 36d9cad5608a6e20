"""The home's lease in a Dagster run: from the step that begins a build to the end of the step that publishes it.

The executor of this project runs all steps in one process and makes a resource once a run, so the resource can hold the
lease between steps, and lets it go however the run ends. With an executor that runs each step in a process of its own
the lease ends with the step. What holds then is the run's tag: the publish step refuses every build but the one that
the run has begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import dagster as dg

from orchestration.home import Home

LEASE = "lease"
BUILD_TAG = "traithouse/build_id"


class RunLease:
    """What one run holds, and which build it has begun."""

    def __init__(self, home: Home, instance: dg.DagsterInstance, run_id: str) -> None:
        self._home, self._instance, self._run_id = home, instance, run_id
        self._held = ExitStack()

    def acquire(self) -> None:
        """Takes the home's lease until ``release``, or the end of the run.

        Raises:
            WarehouseBusyError: another process holds it.

        """
        self.release()
        self._held.enter_context(self._home.lease(f"Dagster run {self._run_id[:8]}"))

    def release(self) -> None:
        """Lets it go."""
        self._held.close()

    @property
    def build_id(self) -> str | None:
        """The build that this run, or the run that it goes on from, has begun or judged; None when it did neither."""
        run = self._instance.get_run_by_id(self._run_id)
        while run:
            if BUILD_TAG in run.tags:
                return run.tags[BUILD_TAG]
            run = self._instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
        return None

    def note_build(self, build_id: str) -> None:
        """Writes down which build it is, for every process of the run and for the page of the run."""
        self._instance.add_run_tags(self._run_id, {BUILD_TAG: build_id})


def lease_resource(home: Home) -> dg.ResourceDefinition:
    """The resource of steps that begin or publish a build."""

    @dg.resource(description="The right to begin and publish a build, which command line and Dagster share.")
    def lease(context: dg.InitResourceContext) -> Iterator[RunLease]:
        instance, run_id = context.instance, context.run_id
        if instance is None or run_id is None:
            raise dg.DagsterInvariantViolationError("The lease belongs to a run.")
        held = RunLease(home, instance, run_id)
        try:
            yield held
        finally:
            held.release()

    return lease
