"""What Dagster loads: assembles, decides nothing."""

import dagster as dg

from orchestration.defs import gates, history, landing, learning, publishing, schedules, syncs, warehouse
from orchestration.defs.lease import LEASE, lease_resource
from orchestration.home import Home
from orchestration.transform.dbt import Project


def assembled(project: Project) -> dg.Definitions:
    """All definitions of a project, in the order of an event's trip."""
    return dg.Definitions.merge(
        landing.definitions(project),
        warehouse.definitions(project),
        gates.definitions(project),
        publishing.definitions(project),
        history.definitions(project),
        syncs.definitions(project),
        learning.definitions(project),
        schedules.definitions(project),
        # One writer: the steps of a run share this process, its imports and its lease.
        dg.Definitions(resources={LEASE: lease_resource(project.home)}, executor=dg.in_process_executor),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Of the project and home that the environment names."""
    return assembled(Project(Home()))
