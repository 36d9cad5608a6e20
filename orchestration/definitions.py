"""What Dagster loads: assembles, decides nothing."""

import dagster as dg

from orchestration.defs import gates, landing, learning, publishing, schedules, syncs, warehouse
from orchestration.home import House
from orchestration.transform.dbt import DbtProject

house = House()
project = DbtProject(house)

defs = dg.Definitions.merge(
    landing.definitions(house, project),
    warehouse.definitions(house, project),
    gates.definitions(house),
    publishing.definitions(house, project),
    syncs.definitions(house, project),
    learning.definitions(house, project),
    schedules.definitions(house, project),
    # One writer: steps share this process, the imports and the lock.
    dg.Definitions(executor=dg.in_process_executor),
)
