"""What Dagster loads: assembles, decides nothing."""

import dagster as dg

from orchestration.defs import gates, landing, learning, publishing, schedules, syncs, warehouse
from orchestration.home import Home
from orchestration.transform.dbt import Project

home = Home()
project = Project(home)

defs = dg.Definitions.merge(
    landing.definitions(home, project),
    warehouse.definitions(home, project),
    gates.definitions(home),
    publishing.definitions(home, project),
    syncs.definitions(home, project),
    learning.definitions(home, project),
    schedules.definitions(home, project),
    # One writer: steps share this process, the imports and the lock.
    dg.Definitions(executor=dg.in_process_executor),
)
